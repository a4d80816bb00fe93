"""A tag (in the interface: collection qualifier): a word that puts offers into collections."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Its name is unique in its container (R12)."""

    id: str
    name: str
