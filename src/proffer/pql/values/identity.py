"""Dictionary keys that compare objects by identity instead of by value."""

from typing import final


@final
class ObjectKey:
    """Dictionary key for an object; equal only to a key of the same object.

    The key holds a reference, so the object lives at least as long as the key.
    """

    __slots__ = ("_object",)

    def __init__(self, target: object) -> None:
        self._object = target

    def __eq__(self, other_key: object) -> bool:
        return isinstance(other_key, ObjectKey) and self._object is other_key._object

    def __hash__(self) -> int:
        return object.__hash__(self._object)
