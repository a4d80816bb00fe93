"""Tags (in the UI: collection qualifiers), which assign offers to collections."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag. Its name is unique in its container (R12)."""

    id: str
    name: str
