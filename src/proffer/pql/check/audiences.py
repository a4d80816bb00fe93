"""Check the audiences that a rule names: each name must be that of one audience."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from proffer.pql.forms.printer import print_scalar
from proffer.pql.functions.maps import MEMBERSHIP_FUNCTIONS
from proffer.pql.syntax.diagnostics import Diagnostic, Severity, TextFix, closest
from proffer.pql.syntax.nodes import Call, Literal, Node, walk

_MAX_LISTED_IDS = 3
_MAX_SUGGESTIONS = 3
_MAX_COMPARED_NAMES = 1_000
"""Similar names are looked for a few times in a rule, among the oldest audiences: a container may have very many."""


def audience_literals(core: Node) -> Iterator[tuple[Call, Literal]]:
    """Yield the calls that name an audience by a literal, each with the literal."""
    for node in walk(core):
        if isinstance(node, Call) and node.function in MEMBERSHIP_FUNCTIONS:
            for argument in node.arguments:
                if isinstance(argument, Literal) and isinstance(argument.value, str):
                    yield node, argument


def check_audiences(
    core: Node, audiences: Callable[[], Mapping[str, Sequence[str]]], *, saving: bool
) -> list[Diagnostic]:
    """Return findings on literal audiences. An ambiguous name is an error if the rule is to be saved."""
    calls = list(audience_literals(core))
    if not calls:
        return []
    ids_by_name = audiences()
    known_ids = {audience for ids in ids_by_name.values() for audience in ids}
    findings = []
    unknown_count = 0
    for call, argument in calls:
        function, text = call.function, str(argument.value)
        ids = ids_by_name.get(text, ())
        severity, fix = Severity.WARNING, None
        if text in known_ids or (function == "inAudience" and len(ids) == 1):
            continue
        if function == "inSegment":
            if not ids:
                continue  # memberships of other systems need no audience here
            message = f"`{text}` is the name of an audience, not its id"
            help_: str | None = f'write `inAudience("{text}")`'
        elif ids:
            message = f"{len(ids)} audiences have the name `{text}`"
            help_ = "use an id: " + ", ".join(f"`{audience}`" for audience in ids[:_MAX_LISTED_IDS])
            severity = Severity.ERROR if saving else Severity.WARNING
        else:
            message, help_ = f"no audience has the name or id `{text}`", None
            unknown_count += 1
            oldest_names = list(islice(ids_by_name, _MAX_COMPARED_NAMES))
            if unknown_count <= _MAX_SUGGESTIONS and (name := closest(text, oldest_names)) is not None:
                help_, fix = f"did you mean `{name}`?", TextFix(argument.span, print_scalar(name))
        findings.append(Diagnostic("pql.audience", message, help_, argument.span, severity, fix))
    return findings
