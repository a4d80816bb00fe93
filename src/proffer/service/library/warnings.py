"""Warnings about accepted writes: what is probably not what the author wants."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from proffer.errors import Violation
from proffer.model.catalog import CatalogOverlay
from proffer.model.documents import WARN_OFFER_BYTES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance


def write_warnings(
    catalog: CatalogOverlay, before: Instance | None, after: Instance, *, importing: bool = False
) -> list[Violation]:
    """Return the warnings about a valid version that replaces `before`, or is the first.

    Imports get no advice about sizes: repeated for each offer of a file, it would hide the rest.
    """
    checkers = _CHECKERS if importing else (_size_warnings, *_CHECKERS)
    return [warning for checker in checkers for warning in checker(catalog, before, after)]


def _size_warnings(_catalog: CatalogOverlay, _before: Instance | None, after: Instance) -> Iterator[Violation]:
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


_CHECKERS: tuple[Callable[[CatalogOverlay, Instance | None, Instance], Iterable[Violation]], ...] = ()
