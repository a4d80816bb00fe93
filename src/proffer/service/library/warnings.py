"""Warnings about accepted writes: what is probably not what the author wants."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from proffer.errors import Violation
from proffer.model.capping import begins_anew, match_limits
from proffer.model.documents import PLACES, SHAPES, WARN_OFFER_BYTES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.parse import CAPS_MEMBER
from proffer.service.library.library import safe_offer_caps
from proffer.validation import misspelt_members


def write_warnings(before: Instance | None, after: Instance, *, importing: bool = False) -> list[Violation]:
    """Return the warnings about a valid version that replaces `before`, or is the first.

    Imports get no advice about sizes: repeated for each offer of a file, it would hide the rest.
    """
    checkers = _CHECKERS if importing else (_size_warnings, *_CHECKERS)
    return [warning for checker in checkers for warning in checker(before, after)]


def _size_warnings(_before: Instance | None, after: Instance) -> Iterator[Violation]:
    """Yield a warning for an offer larger than the documented advice (R32)."""
    if after.kind not in {EntityKind.OFFER, EntityKind.FALLBACK}:
        return
    size = len(msgspec.json.encode(after.document))
    if size > WARN_OFFER_BYTES:
        yield Violation(
            code="large-offer",
            message=f"the offer has {size} bytes; the documented recommendation is at most {WARN_OFFER_BYTES}",
            path="$",
            help="move large content to a file and give its URL",
        )


def _limit_warnings(before: Instance | None, after: Instance) -> Iterator[Violation]:
    """Yield a warning for each limit of a changed offer that continues no limit of it (R46)."""
    if after.kind is not EntityKind.OFFER or before is None:
        return
    limits, earlier_limits = safe_offer_caps(after).limits, safe_offer_caps(before).limits
    for limit, match in zip(limits, match_limits(limits, earlier_limits), strict=True):
        if limit.enabled and match is None:
            yield Violation(
                code="limit-begins-anew",
                message=f"what limit `{limit.name}` counts is new: it begins at 0, so that customers who had the offer "
                "can get it again",
                path=f"$.{CAPS_MEMBER if limit.name.isdigit() else 'xdm:cappingConstraint'}",
                help="to go on counting, leave its scope, entity, events, customQuery, repeat and placements as they "
                "were; a limit that the offer had earlier goes on in any case",
            )


def _misspelt_warnings(_before: Instance | None, after: Instance) -> list[Violation]:
    return misspelt_members(SHAPES[after.kind], after.document, PLACES.get(after.kind, {}))


def _reopening_warnings(before: Instance | None, after: Instance) -> Iterator[Violation]:
    """Yield a warning for an offer that had ended and is opened again: counters begin at 0 (R47)."""
    if after.kind is not EntityKind.OFFER or before is None:
        return
    old, new = safe_offer_caps(before), safe_offer_caps(after)
    is_open = new.end_us is None or new.end_us >= new.moment_us
    if is_open and begins_anew(old.end_us, new.start_us, new.moment_us):
        names = ", ".join(f"`{limit.name}`" for limit in new.limits if limit.enabled and limit.repeat is None)
        if names and (old.start_us, old.end_us) != (new.start_us, new.end_us):
            yield Violation(
                code="offer-opens-again",
                message=f"the offer opens again after its end: counting for the limits that do not repeat ({names}) "
                "begins at 0, so that customers who had it can get it again",
                path="$.xdm:selectionConstraint",
                help="to go on counting, move the end of an offer before it is reached",
            )


_CHECKERS: tuple[Callable[[Instance | None, Instance], Iterable[Violation]], ...] = (
    _limit_warnings,
    _misspelt_warnings,
    _reopening_warnings,
)
