"""One document, two spellings: members and values renamed as a table says, and back, without loss.

A table describes a document in its own spelling (how clients of a surface write it) beside the stored
one. What no table names keeps its name and value in both. Where such a member has the very name that a
described one takes on the other side, the two exchange names, so that nothing is ever shadowed.

Some members are stored under any of several names. Going back, `like` (the document as it was stored)
says which: what did not change comes back as it was, to the letter.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from proffer.validation import ListOf, MapOf, Member, Object, OneOf, Shape, Text
from proffer.wire.patch import same


@dataclass(frozen=True, slots=True)
class AsItIs:
    """A value that is the same in both spellings, whatever is inside."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text some of whose values are spelled differently: `shown` by stored value, read back the same way.

    `accepted` are further spellings that are understood and never shown, with what they are stored as.
    """

    shown: Mapping[str, str]
    accepted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Each:
    """A list of things alike."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class Entries:
    """An object with any member names, whose values are alike."""

    of: "Node"


@dataclass(frozen=True, slots=True)
class Name:
    """How a member is stored: under `stored`, or under any of `aliases`, of which the first present counts."""

    stored: str
    aliases: tuple[str, ...] = ()
    of: "Node" = AsItIs()


class Names:
    """An object with these members, by the name they are shown under, and any others."""

    def __init__(self, members: Mapping[str, Name]) -> None:
        self.members = dict(members)
        self.by_stored = {name.stored: shown for shown, name in members.items()}
        self.by_alias = {alias: shown for shown, name in members.items() for alias in name.aliases}
        # Its own inverse: both ways are one exchange.
        self.exchange = {
            one: other
            for shown, name in members.items()
            for one, other in ((shown, name.stored), (name.stored, shown))
        }

    def spelling(self, shown: str, document: Mapping[str, Any]) -> str | None:
        """The name under which a stored document has this member; None where it has none."""
        name = self.members[shown]
        return next((one for one in (name.stored, *name.aliases) if one in document), None)

    def shown(self, stored: str, document: Mapping[str, Any]) -> str:
        """The name under which this member of a stored document is shown."""
        by_alias = self.by_alias.get(stored)
        if by_alias is not None and self.spelling(by_alias, document) == stored:
            return by_alias
        return self.exchange.get(stored, stored)


Node: TypeAlias = AsItIs | Words | Each | Entries | Names

_AS_IT_IS = AsItIs()


def shown(node: Node, value: Any) -> Any:
    """A stored value as it is shown."""
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
    """A shown value as it is to be stored. What is shown of `like` and did not change is taken from there."""
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
    """Each element beside the one it was: at its place from the front, else at its place from the end."""
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


# What is said about a stored document, said about the shown one.


def shown_shape(node: Node, shape: Shape) -> Shape:
    """The shape of the shown document, from that of the stored one. Every spelling that is understood is allowed."""
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
    """The JSON path in the shown document of what stands at this path in the stored one."""
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
    """Every name and value of a stored document that is shown differently, with how it is shown."""
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
    """A message for people in which names in backticks are those that its reader knows."""
    return re.sub(r"`([^`]*)`", lambda match: f"`{words.get(match[1], match[1])}`", text)
