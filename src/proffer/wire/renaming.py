"""Lossless renaming of members and values between stored and public documents.

A renaming maps the public form of a document (as an API's clients write it) to the stored form. Members
without a renaming keep name and value. If such a member has the name that a renamed one takes on the
other side, the two exchange names, so that nothing is shadowed.

Some members may be stored under several names. On the way back, `original` (the stored document before
the change) decides which: unchanged parts are returned exactly as they were stored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from proffer.validation import (
    ListShape,
    MapShape,
    Member,
    ObjectShape,
    OneOfShape,
    Shape,
    TextShape,
)
from proffer.wire.patch import json_equal


@dataclass(frozen=True, slots=True)
class NoRenaming:
    """A value that is the same in both forms, including nested values."""


@dataclass(frozen=True, slots=True)
class ValueRenaming:
    """A string with renamed values. `public_by_stored` maps stored to public values, both ways.

    `stored_by_accepted` maps further accepted input values, which are never returned, to stored values.
    """

    public_by_stored: Mapping[str, str]
    stored_by_accepted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListRenaming:
    """A list whose elements share one renaming."""

    of: "Renaming"


@dataclass(frozen=True, slots=True)
class MapRenaming:
    """An object with arbitrary member names whose values share one renaming."""

    of: "Renaming"


@dataclass(frozen=True, slots=True)
class MemberRenaming:
    """Stored name of a member: `stored`, or any of `aliases`; the first that is present counts."""

    stored: str
    aliases: tuple[str, ...] = ()
    of: "Renaming" = NoRenaming()


class ObjectRenaming:
    """An object with these members, by public name, and any others."""

    def __init__(self, members: Mapping[str, MemberRenaming]) -> None:
        self.members = dict(members)
        self.public_by_alias = {alias: public for public, member in members.items() for alias in member.aliases}
        # Its own inverse: one mapping serves both directions.
        self.exchange = {
            source: target
            for public, member in members.items()
            for source, target in ((public, member.stored), (member.stored, public))
        }

    def stored_name(self, public: str, document: Mapping[str, Any]) -> str | None:
        """Return the name under which a stored document has this member; None if it has not."""
        member = self.members[public]
        return next(
            (candidate for candidate in (member.stored, *member.aliases) if candidate in document),
            None,
        )

    def public_name(self, stored: str, document: Mapping[str, Any]) -> str:
        """Return the public name of this member of a stored document."""
        public = self.public_by_alias.get(stored)
        if public is not None and self.stored_name(public, document) == stored:
            return public
        return self.exchange.get(stored, stored)


Renaming: TypeAlias = NoRenaming | ValueRenaming | ListRenaming | MapRenaming | ObjectRenaming

_NO_RENAMING = NoRenaming()


def to_public(renaming: Renaming, value: Any) -> Any:
    """Return the public form of a stored value."""
    match renaming:
        case ValueRenaming() if isinstance(value, str):
            return renaming.public_by_stored.get(value, value)
        case ListRenaming() if isinstance(value, list):
            return [to_public(renaming.of, element) for element in value]
        case MapRenaming() if isinstance(value, Mapping):
            return {name: to_public(renaming.of, element) for name, element in value.items()}
        case ObjectRenaming() if isinstance(value, Mapping):
            return {
                name: to_public(_member_renaming(renaming, name), element)
                for stored, element in value.items()
                for name in (renaming.public_name(stored, value),)
            }
        case _:
            return value


def to_stored(renaming: Renaming, value: Any, original: Any = None) -> Any:
    """Return the stored form of a public value. Parts that did not change are taken from `original`."""
    if original is not None and json_equal(to_public(renaming, original), value):
        return original
    match renaming:
        case ValueRenaming() if isinstance(value, str):
            stored_by_public = {word: stored_value for stored_value, word in renaming.public_by_stored.items()} | dict(
                renaming.stored_by_accepted
            )
            return stored_by_public.get(value, value)
        case ListRenaming() if isinstance(value, list):
            return list(_list_to_stored(renaming.of, value, original if isinstance(original, list) else []))
        case MapRenaming() if isinstance(value, Mapping):
            before = original if isinstance(original, Mapping) else {}
            return {name: to_stored(renaming.of, element, before.get(name)) for name, element in value.items()}
        case ObjectRenaming() if isinstance(value, Mapping):
            return _object_to_stored(renaming, value, original if isinstance(original, Mapping) else {})
        case _:
            return value


def _list_to_stored(renaming: Renaming, values: list[Any], before: list[Any]) -> Iterator[Any]:
    """Yield the stored elements. Old ones are matched by position from the start, else from the end."""
    shift = len(before) - len(values)
    for index, value in enumerate(values):
        originals = [before[at] for at in (index, index + shift) if 0 <= at < len(before)]
        unchanged = (original for original in originals if json_equal(to_public(renaming, original), value))
        yield next(unchanged, None) or to_stored(renaming, value, originals[0] if originals else None)


def _object_to_stored(renaming: ObjectRenaming, value: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    stored_names = {renaming.exchange.get(name, name) for name in value}
    stored_document: dict[str, Any] = {}
    for name, member in value.items():
        stored_name = renaming.exchange.get(name, name)
        original_name = renaming.stored_name(name, before) if name in renaming.members else None
        if original_name is not None and (original_name == stored_name or original_name not in stored_names):
            stored_name = original_name
        stored_document[stored_name] = to_stored(_member_renaming(renaming, name), member, before.get(stored_name))
    return stored_document


def _member_renaming(renaming: ObjectRenaming, name: str) -> Renaming:
    member = renaming.members.get(name)
    return member.of if member is not None else _NO_RENAMING


# Translation of shapes, paths and messages from the stored to the public form.


def public_shape(renaming: Renaming, shape: Shape) -> Shape:
    """Return the shape of the public document for a stored shape. Every accepted value is allowed."""
    if isinstance(shape, OneOfShape):
        return replace(shape, shapes=[public_shape(renaming, choice) for choice in shape.shapes])
    if isinstance(renaming, ValueRenaming) and isinstance(shape, TextShape) and shape.one_of:
        public_values = [renaming.public_by_stored.get(word, word) for word in shape.one_of]
        extra_values = [word for word in (*shape.one_of, *renaming.stored_by_accepted) if word not in public_values]
        return replace(shape, one_of=[*public_values, *extra_values])
    if isinstance(renaming, ListRenaming) and isinstance(shape, ListShape):
        return replace(shape, shape=public_shape(renaming.of, shape.shape))
    if isinstance(renaming, MapRenaming) and isinstance(shape, MapShape):
        return replace(shape, shape=public_shape(renaming.of, shape.shape))
    if isinstance(renaming, ObjectRenaming) and isinstance(shape, ObjectShape):
        return _public_object_shape(renaming, shape)
    return shape


def _public_object_shape(renaming: ObjectRenaming, shape: ObjectShape) -> ObjectShape:
    def public_name(stored: str) -> str:
        return renaming.public_by_alias.get(stored) or renaming.exchange.get(stored, stored)

    members = {
        public_name(name): Member(
            public_shape(_member_renaming(renaming, public_name(name)), member.shape),
            member.required,
        )
        for name, member in shape.members.items()
    }
    groups = [[public_name(name) for name in group] for group in shape.at_least_one_of]
    return replace(shape, members=members, at_least_one_of=groups)


_STEP = re.compile(r'\.(?P<name>[A-Za-z0-9_@][A-Za-z0-9_@:-]*)|(?P<quoted>\["(?:[^"\\]|\\.)*"\])|(?P<index>\[\d+\])')


def public_path(renaming: Renaming, path: str) -> str:
    """Return the public JSON path for a path in the stored document."""
    parts = ["$"]
    for step in _STEP.finditer(path):
        name = step["name"]
        if name is None:
            parts.append(step[0])
            renaming = renaming.of if isinstance(renaming, ListRenaming | MapRenaming) else _NO_RENAMING
        elif isinstance(renaming, ObjectRenaming):
            name = renaming.public_by_alias.get(name) or renaming.exchange.get(name, name)
            parts.append(f".{name}")
            renaming = _member_renaming(renaming, name)
        else:
            parts.append(f".{name}")
            renaming = renaming.of if isinstance(renaming, MapRenaming) else _NO_RENAMING
    return "".join(parts)


def public_words(renaming: Renaming) -> dict[str, str]:
    """Return all renamed names and values: stored form to public form."""
    words: dict[str, str] = {}
    match renaming:
        case ValueRenaming():
            words |= renaming.public_by_stored
        case ListRenaming() | MapRenaming():
            words |= public_words(renaming.of)
        case ObjectRenaming():
            for name, member in renaming.members.items():
                words |= {stored_name: name for stored_name in (member.stored, *member.aliases) if stored_name != name}
                words |= public_words(member.of)
        case _:
            pass
    return words


def replace_words(text: str, words: Mapping[str, str]) -> str:
    """Replace the names in backticks of a message by those in `words`."""
    return re.sub(r"`([^`]*)`", lambda match: f"`{words.get(match[1], match[1])}`", text)
