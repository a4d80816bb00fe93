"""Dictionary keys that compare objects by identity instead of by value."""

from typing import final


@final
class Identity:
    """Dictionary key for an object; equal only to a key of the same object.

    The key holds a reference, so the object lives at least as long as the key.
    """

    __slots__ = ("_target",)

    def __init__(self, target: object) -> None:
        self._target = target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._target is other._target

    def __hash__(self) -> int:
        return object.__hash__(self._target)
