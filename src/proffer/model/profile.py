"""A customer: identities, and an XDM profile document of attributes."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from proffer.model.capping import NOBODY, Subjects


class Identity(Struct, frozen=True, kw_only=True):
    """One identity: namespace code and id. At most one of a request's should be primary."""

    namespace: str
    id: str
    primary: bool = False


class Profile(Struct, frozen=True, kw_only=True):
    """What is known of a customer. An unknown one has no attributes and is `found` False.

    `events` are what they did, oldest first, where some rule may ask. `subjects` is who that is for the
    counters of capped offers. `policy_known` is False where the request names a merge policy that is not
    there, and the default one was taken. `withheld` says that what is kept of them could not be read.
    """

    identities: tuple[Identity, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False
    events: Sequence[Mapping[str, Any]] = ()
    subjects: Subjects = NOBODY
    policy_known: bool = True
    withheld: bool = False


UNKNOWN = Profile()
_SCALARS = frozenset({str, int, float, bool, type(None)})


def projected(attributes: Mapping[str, Any], paths: frozenset[str]) -> Mapping[str, Any]:
    """What these field paths, such as `profile.person.age`, read of a profile document; all of it for `profile`.

    What is in a list is kept with the whole list.
    """
    tree = _tree(paths)
    return attributes if tree is None else _picked(attributes, tree)


@lru_cache(maxsize=1024)
def _tree(paths: frozenset[str]) -> dict[str, Any] | None:
    """The names below `profile`, each with those below it; None: all."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        names = path.split(".")
        if names[0] != "profile":
            continue
        if len(names) == 1:
            return None
        below = tree
        for name in names[1:-1]:
            found = below.setdefault(name, {})
            if found is None:
                break
            below = found
        else:
            below[names[-1]] = None
    return tree


def _picked(value: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, below in tree.items():
        if name in value:
            member = value[name]
            inside = below is not None and isinstance(member, (dict, Mapping))
            found[name] = _picked(member, below) if inside else member
    return found


def without_prefixes(value: Any) -> Any:
    """The same JSON value with `xdm:` taken off every key: both spellings name one field (PQL D-XDM).

    Done once when data comes in, never per rule. Where both spellings stand side by side, the plain
    one wins. Depth is bounded by whoever decoded the value.
    """
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict or isinstance(value, Mapping):
        plain = {}
        prefixed = []
        for key, member in value.items():
            if key.startswith("xdm:"):
                prefixed.append((key[4:], member))
            else:
                plain[key] = without_prefixes(member)
        for key, member in prefixed:
            if key not in plain:
                plain[key] = without_prefixes(member)
        return plain
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_prefixes(member) for member in value]
    return value
