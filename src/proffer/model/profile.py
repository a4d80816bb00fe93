"""Profile of a decision request: identities, and attributes as an XDM profile document."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from proffer.model.capping import NO_SUBJECTS, CapSubjects


class ProfileIdentity(Struct, frozen=True, kw_only=True):
    """One identity: namespace code and id. At most one of a request should be primary."""

    namespace: str
    id: str
    primary: bool = False


class Profile(Struct, frozen=True, kw_only=True):
    """The profile of a decision. `is_known` is False for an unknown customer, without attributes.

    `events` are the experience events, oldest first, if a rule may read them. `subjects` says whose cap
    counters apply. `policy_known` is False if the requested merge policy does not exist and the default
    was used. `withheld`: the stored profile could not be read.
    """

    identities: tuple[ProfileIdentity, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    is_known: bool = False
    events: Sequence[Mapping[str, Any]] = ()
    subjects: CapSubjects = NO_SUBJECTS
    policy_known: bool = True
    withheld: bool = False


UNKNOWN_PROFILE = Profile()
_SCALARS = frozenset({str, int, float, bool, type(None)})


def project_attributes(attributes: Mapping[str, Any], paths: frozenset[str]) -> Mapping[str, Any]:
    """Return the attributes reduced to field paths such as `profile.person.age`.

    The path `profile` means all attributes. A list is kept whole.
    """
    tree = _path_tree(paths)
    return attributes if tree is None else _pick_paths(attributes, tree)


@lru_cache(maxsize=1024)
def _path_tree(paths: frozenset[str]) -> dict[str, Any] | None:
    """Return the paths below `profile` as nested dicts. None stands for a whole value."""
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        names = path.split(".")
        if names[0] != "profile":
            continue
        if len(names) == 1:
            return None
        parent = tree
        for name in names[1:-1]:
            child = parent.setdefault(name, {})
            if child is None:
                break
            parent = child
        else:
            parent[names[-1]] = None
    return tree


def _pick_paths(value: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    picked: dict[str, Any] = {}
    for name, subtree in tree.items():
        if name in value:
            member = value[name]
            is_nested = subtree is not None and isinstance(member, (dict, Mapping))
            picked[name] = _pick_paths(member, subtree) if is_nested else member
    return picked


def without_prefixes(value: Any) -> Any:
    """Return the JSON value with `xdm:` removed from every key (PQL D-XDM).

    Done once when data is ingested, never per rule. If a key exists in both forms, the plain one wins.
    The decoder bounds the depth.
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
