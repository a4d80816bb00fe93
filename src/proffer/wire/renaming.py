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

from proffer.validation import ListOf, MapOf, Member, Object, OneOf, Shape, Text
from proffer.wire.patch import same


@dataclass(frozen=True, slots=True)
class AsItIs:
    """A value that is the same in both forms, including nested values."""


@dataclass(frozen=True, slots=True)
class Words:
    """A string with renamed values. `public_by_stored` maps stored to public values, both ways.

    `stored_by_accepted` maps further accepted input values, which are never returned, to stored values.
    """

    shown: Mapping[str, str]
    accepted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Each:
    """A list whose elements share one renaming."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class Entries:
    """An object with arbitrary member names whose values share one renaming."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class Name:
    """Stored name of a member: `stored`, or any of `aliases`; the first that is present counts."""

    stored: str
    aliases: tuple[str, ...] = ()
    of: "Node" = AsItIs()


class Names:
    """An object with these members, by public name, and any others."""

    def __init__(self, members: Mapping[str, Name]) -> None:
        self.members = dict(members)
        self.by_stored = {name.stored: shown for shown, name in members.items()}
        self.by_alias = {alias: shown for shown, name in members.items() for alias in name.aliases}
        # Its own inverse: one mapping serves both directions.
        self.exchange = {
            one: other
            for shown, name in members.items()
            for one, other in ((shown, name.stored), (name.stored, shown))
        }

    def spelling(self, shown: str, document: Mapping[str, Any]) -> str | None:
        """Return the name under which a stored document has this member; None if it has not."""
        name = self.members[shown]
        return next((one for one in (name.stored, *name.aliases) if one in document), None)

    def shown(self, stored: str, document: Mapping[str, Any]) -> str:
        """Return the public name of this member of a stored document."""
        by_alias = self.by_alias.get(stored)
        if by_alias is not None and self.spelling(by_alias, document) == stored:
            return by_alias
        return self.exchange.get(stored, stored)


Node: TypeAlias = AsItIs | Words | Each | Entries | Names

_AS_IT_IS = AsItIs()


def shown(node: Node, value: Any) -> Any:
    """Return the public form of a stored value."""
    match node:
        case Words() if isinstance(value, str):
            return node.shown.get(value, value)
        case Each() if isinstance(value, list):
            return [shown(node.of, one) for one in value]
        case Entries() if isinstance(value, Mapping):
            return {name: shown(node.of, one) for name, one in value.items()}
        case Names() if isinstance(value, Mapping):
            return {
                name: shown(_inside(node, name), one)
                for stored, one in value.items()
                for name in (node.shown(stored, value),)
            }
        case _:
            return value


def stored(node: Node, value: Any, like: Any = None) -> Any:
    """Return the stored form of a public value. Parts that did not change are taken from `original`."""
    if like is not None and same(shown(node, like), value):
        return like
    match node:
        case Words() if isinstance(value, str):
            read = {word: kept for kept, word in node.shown.items()} | dict(node.accepted)
            return read.get(value, value)
        case Each() if isinstance(value, list):
            return list(_stored_list(node.of, value, like if isinstance(like, list) else []))
        case Entries() if isinstance(value, Mapping):
            before = like if isinstance(like, Mapping) else {}
            return {name: stored(node.of, one, before.get(name)) for name, one in value.items()}
        case Names() if isinstance(value, Mapping):
            return _stored_object(node, value, like if isinstance(like, Mapping) else {})
        case _:
            return value


def _stored_list(node: Node, values: list[Any], before: list[Any]) -> Iterator[Any]:
    """Yield the stored elements. Old ones are matched by position from the start, else from the end."""
    shift = len(before) - len(values)
    for index, value in enumerate(values):
        beside = [before[at] for at in (index, index + shift) if 0 <= at < len(before)]
        unchanged = (one for one in beside if same(shown(node, one), value))
        yield next(unchanged, None) or stored(node, value, beside[0] if beside else None)


def _stored_object(
    node: Names, value: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    taken = {node.exchange.get(name, name) for name in value}
    found: dict[str, Any] = {}
    for name, one in value.items():
        kept = node.exchange.get(name, name)
        spelling = node.spelling(name, before) if name in node.members else None
        if spelling is not None and (spelling == kept or spelling not in taken):
            kept = spelling
        found[kept] = stored(_inside(node, name), one, before.get(kept))
    return found


def _inside(node: Names, name: str) -> Node:
    member = node.members.get(name)
    return member.of if member is not None else _AS_IT_IS


# Translation of shapes, paths and messages from the stored to the public form.


def shown_shape(node: Node, shape: Shape) -> Shape:
    """Return the shape of the public document for a stored shape. Every accepted value is allowed."""
    if isinstance(shape, OneOf):
        return replace(shape, shapes=[shown_shape(node, one) for one in shape.shapes])
    if isinstance(node, Words) and isinstance(shape, Text) and shape.one_of:
        read = [node.shown.get(word, word) for word in shape.one_of]
        also = [word for word in (*shape.one_of, *node.accepted) if word not in read]
        return replace(shape, one_of=[*read, *also])
    if isinstance(node, Each) and isinstance(shape, ListOf):
        return replace(shape, shape=shown_shape(node.of, shape.shape))
    if isinstance(node, Entries) and isinstance(shape, MapOf):
        return replace(shape, shape=shown_shape(node.of, shape.shape))
    if isinstance(node, Names) and isinstance(shape, Object):
        return _shown_object(node, shape)
    return shape


def _shown_object(node: Names, shape: Object) -> Object:
    def name_of(stored: str) -> str:
        return node.by_alias.get(stored) or node.exchange.get(stored, stored)

    members = {
        name_of(name): Member(
            shown_shape(_inside(node, name_of(name)), member.shape), member.required
        )
        for name, member in shape.members.items()
    }
    groups = [[name_of(name) for name in group] for group in shape.at_least_one_of]
    return replace(shape, members=members, at_least_one_of=groups)


_STEP = re.compile(
    r'\.(?P<name>[A-Za-z0-9_@][A-Za-z0-9_@:-]*)|(?P<quoted>\["(?:[^"\\]|\\.)*"\])|(?P<index>\[\d+\])'
)


def shown_path(node: Node, path: str) -> str:
    """Return the public JSON path for a path in the stored document."""
    parts = ["$"]
    for step in _STEP.finditer(path):
        name = step["name"]
        if name is None:
            parts.append(step[0])
            node = node.of if isinstance(node, Each | Entries) else _AS_IT_IS
        elif isinstance(node, Names):
            name = node.by_alias.get(name) or node.exchange.get(name, name)
            parts.append(f".{name}")
            node = _inside(node, name)
        else:
            parts.append(f".{name}")
            node = node.of if isinstance(node, Entries) else _AS_IT_IS
    return "".join(parts)


def shown_words(node: Node) -> dict[str, str]:
    """Return all renamed names and values: stored form to public form."""
    found: dict[str, str] = {}
    match node:
        case Words():
            found |= node.shown
        case Each() | Entries():
            found |= shown_words(node.of)
        case Names():
            for name, member in node.members.items():
                found |= {one: name for one in (member.stored, *member.aliases) if one != name}
                found |= shown_words(member.of)
        case _:
            pass
    return found


def reworded(text: str, words: Mapping[str, str]) -> str:
    """Replace the names in backticks of a message by those in `words`."""
    return re.sub(r"`([^`]*)`", lambda match: f"`{words.get(match[1], match[1])}`", text)
