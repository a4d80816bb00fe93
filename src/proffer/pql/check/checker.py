"""Check a syntax tree: names, types, limits and lint; returns a rule or diagnostics."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from shlex import quote

from proffer.pql.check.audiences import check_audiences
from proffer.pql.check.conversions import conversions
from proffer.pql.check.declared import DeclaredTypes
from proffer.pql.check.event_window import event_window
from proffer.pql.check.inference import Inference
from proffer.pql.check.lint import lint
from proffer.pql.check.reads import longest_paths, reads_of
from proffer.pql.check.resolver import Resolver, constant_item
from proffer.pql.check.result import check_result, value_name
from proffer.pql.check.schema import XDM, Schema
from proffer.pql.checked import CheckedRule
from proffer.pql.forms.printer import print_tree
from proffer.pql.run.fold import fold
from proffer.pql.syntax.diagnostics import Diagnostic, sort_diagnostics
from proffer.pql.syntax.limits import (
    MAX_BYTES,
    MAX_CLOSING_BRACKETS,
    MAX_CONTEXT_READS,
    MAX_PROFILE_READS,
    RuleKind,
)
from proffer.pql.syntax.nodes import Filter, Lambda, Logic, Node, walk
from proffer.pql.syntax.source import SourceText, TextSpan

RULE_ROOTS = ("profile", "xEvent")
FORMULA_ROOTS = ("profile", "xEvent", "offer")
_MAX_AUDIENCE_RULE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """Options of a check. `saving` also rejects rules that may be evaluated but not saved.

    `event_history`: such a rule may read the event history, as those of audiences do.
    """

    kind: RuleKind = RuleKind.RULE
    roots: Collection[str] = RULE_ROOTS
    schema: Schema = XDM
    saving: bool = False
    event_history: bool = False


def check_size(source: SourceText, kind: RuleKind) -> list[Diagnostic]:
    """Check the size and Unicode validity of a text before parsing."""
    try:
        size = len(source.text.encode())
    except UnicodeEncodeError as error:
        return [Diagnostic("pql.text", "this is not valid Unicode text", None, TextSpan(error.start, error.end))]
    limit = MAX_BYTES[kind]
    if size > limit:
        message = f"a {kind} has at most {limit // 1024} KB, this one has {size / 1024:.1f}"
        return [Diagnostic("pql.limit", message, "split it, or move fixed values into an audience")]
    return []


def check(tree: Node, source: SourceText, options: CheckOptions) -> tuple[CheckedRule | None, list[Diagnostic]]:
    """Return the checked rule and all findings, sorted by position. The rule is None on errors."""
    findings = _check_closing_brackets(source)
    resolver = Resolver(options.roots, source.text)
    core = resolver.resolve_all(tree)
    findings += resolver.findings
    reads = reads_of(core)
    findings += _check_read_limits(reads)
    if options.saving:
        findings += _constant_items(tree, source.text)
    if options.saving and not options.event_history:
        findings += _look_back_findings(tree, core, options.kind)
    if options.schema.audiences is not None and not resolver.findings:
        findings += check_audiences(core, options.schema.audiences, saving=options.saving)
    is_condition = options.kind is RuleKind.RULE
    folded, type_name = core, ""
    inference = Inference(options.schema, source.text, saving=options.saving)
    # Inference and folding need resolved names and valid argument counts.
    if not resolver.findings:
        inferred = inference.infer(core)
        type_name = str(inferred.type)
        if is_condition and not (options.saving and value_name(core)):
            inference.check_condition(core, inferred)
        if options.kind is RuleKind.FORMULA:
            inference.check_number(core, inferred)
        findings += inference.findings
    if not any(finding.is_error for finding in findings):
        findings += conversions(core, inference.types, source.text)
        declared = DeclaredTypes(inference.types)
        folded = fold(declared.condition(core) if is_condition else declared.apply(core))
        refusals = check_result(core, folded) if options.saving and is_condition else []
        findings += refusals or lint(core, folded, options.kind, source.text)
    findings = sort_diagnostics(findings)
    if any(finding.is_error for finding in findings):
        return None, findings
    rule = CheckedRule(tree, folded, options.kind, reads, tuple(findings), type_name)
    return rule, findings


def _constant_items(tree: Node, text: str) -> list[Diagnostic]:
    """Return an error for each rule or filter of the form `age => 18`."""
    tests = [tree, *(node.test for node in walk(tree) if isinstance(node, Filter))]
    findings = (constant_item(test, text) for test in tests if isinstance(test, Lambda))
    return [finding for finding in findings if finding is not None]


def _look_back_findings(tree: Node, core: Node, kind: RuleKind) -> list[Diagnostic]:
    """Return an error for each read of the event history; for a rule with the command of an audience instead."""
    findings = event_window(core, kind)
    if kind is not RuleKind.RULE:
        return findings
    parts = tree.parts if isinstance(tree, Logic) and tree.sign == "and" else (tree,)
    return [replace(finding, help=_audience_help(parts, finding.span)) for finding in findings]


def _audience_help(parts: Collection[Node], span: TextSpan) -> str:
    """Return how to write the condition that contains a span as an audience."""
    part = next(part for part in parts if part.span.end >= span.end)
    rule = print_tree(part)
    rule = rule if len(rule) <= _MAX_AUDIENCE_RULE else "…"
    return (
        f'define an audience, `proffer audiences create NAME --rule {quote(rule)}`, and use `inAudience("NAME")` here'
    )


def _check_closing_brackets(source: SourceText) -> list[Diagnostic]:
    """Check the number of `)`, including those in quoted texts. The original product does the same."""
    count = source.text.count(")")
    if count <= MAX_CLOSING_BRACKETS:
        return []
    message = f"a rule has at most {MAX_CLOSING_BRACKETS} `)`, this one has {count}"
    return [Diagnostic("pql.limit", message, "remove unnecessary brackets, or split the rule")]


def _check_read_limits(reads: frozenset[str]) -> list[Diagnostic]:
    if len(reads) <= min(MAX_PROFILE_READS, MAX_CONTEXT_READS):
        return []
    paths = longest_paths(reads)
    context = [path for path in paths if path.startswith(("context:", "xEvent"))]
    profile = [path for path in paths if path.startswith("profile.")]
    return [
        Diagnostic(
            "pql.limit",
            f"a rule reads at most {limit} {path_kind} attributes, this one reads {len(kind_paths)}",
        )
        for path_kind, kind_paths, limit in (
            ("profile", profile, MAX_PROFILE_READS),
            ("context", context, MAX_CONTEXT_READS),
        )
        if len(kind_paths) > limit
    ]
