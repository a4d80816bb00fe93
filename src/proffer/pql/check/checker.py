"""Check a syntax tree: names, types, limits and lint; returns a rule or diagnostics."""

from collections.abc import Collection
from dataclasses import dataclass

from proffer.pql.check.event_window import look_back
from proffer.pql.check.inference import Inference
from proffer.pql.check.lint import doubts
from proffer.pql.check.reads import longest, reads_of
from proffer.pql.check.resolver import Resolver
from proffer.pql.check.schema import XDM, Schema
from proffer.pql.checked import CheckedRule
from proffer.pql.run.fold import fold
from proffer.pql.syntax.diagnostics import Diagnostic, in_reading_order
from proffer.pql.syntax.limits import (
    MAX_BYTES,
    MAX_CLOSING,
    MAX_CONTEXT_READS,
    MAX_PROFILE_READS,
    RuleKind,
)
from proffer.pql.syntax.nodes import Node
from proffer.pql.syntax.source import Source, Span

RULE_ROOTS = ("profile", "xEvent")
FORMULA_ROOTS = ("profile", "xEvent", "offer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Options of a check. `saving` also rejects rules that may be evaluated but not saved."""

    kind: RuleKind = RuleKind.RULE
    roots: Collection[str] = RULE_ROOTS
    schema: Schema = XDM
    saving: bool = False


def check_size(source: Source, kind: RuleKind) -> list[Diagnostic]:
    """Check the size and Unicode validity of a text before parsing."""
    try:
        size = len(source.text.encode())
    except UnicodeEncodeError as error:
        return [
            Diagnostic(
                "pql.text", "this is not valid Unicode text", None, Span(error.start, error.end)
            )
        ]
    limit = MAX_BYTES[kind]
    if size > limit:
        message = f"a {kind} has at most {limit // 1024} KB, this one has {size / 1024:.1f}"
        return [Diagnostic("pql.limit", message, "split it, or move fixed values into an audience")]
    return []


def check(tree: Node, source: Source, terms: Terms) -> tuple[CheckedRule | None, list[Diagnostic]]:
    """Return the checked rule (None on errors) and all findings, sorted by position."""
    findings = _closing_brackets(source)
    resolver = Resolver(terms.roots)
    core = resolver.resolve_all(tree)
    findings += resolver.findings
    reads = reads_of(core)
    findings += _too_many_reads(reads)
    if terms.saving:
        findings += look_back(core, terms.kind)
    folded, kind_of_value = core, ""
    # Inference and folding need resolved names and valid argument counts.
    if not resolver.findings:
        inference = Inference(terms.schema)
        kind_of_value = str(inference.known(core).type)
        findings += inference.findings
    if not any(found.is_error for found in findings):
        folded = fold(core)
        findings += doubts(core, folded, terms.kind)
    findings = in_reading_order(findings)
    if any(found.is_error for found in findings):
        return None, findings
    rule = CheckedRule(
        tree, folded, terms.kind, reads, tuple(findings), resolver.binders, kind_of_value
    )
    return rule, findings


def _closing_brackets(source: Source) -> list[Diagnostic]:
    """Check the number of `)` as the original product does, including those in quoted texts."""
    count = source.text.count(")")
    if count <= MAX_CLOSING:
        return []
    message = f"a rule has at most {MAX_CLOSING} `)`, this one has {count}"
    return [
        Diagnostic(
            "pql.limit", message, "leave out brackets that are not needed, or split the rule"
        )
    ]


def _too_many_reads(reads: frozenset[str]) -> list[Diagnostic]:
    if len(reads) <= min(MAX_PROFILE_READS, MAX_CONTEXT_READS):
        return []
    paths = longest(reads)
    context = [path for path in paths if path.startswith(("context:", "xEvent"))]
    profile = [path for path in paths if path.startswith("profile.")]
    return [
        Diagnostic(
            "pql.limit",
            f"a rule reads at most {most} {what} attributes, this one reads {len(found)}",
        )
        for what, found, most in (
            ("profile", profile, MAX_PROFILE_READS),
            ("context", context, MAX_CONTEXT_READS),
        )
        if len(found) > most
    ]
