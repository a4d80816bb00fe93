"""A customer: identities, and an XDM profile document of attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity: namespace code and id. At most one of a request's should be primary."""

    namespace: str
    id: str
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known of a customer. An unknown one has no attributes and is `found` False.

    `events` are what they did, oldest first, where some rule may ask.
    """

    identities: tuple[Identity, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False
    events: Sequence[Mapping[str, Any]] = ()


UNKNOWN = Profile()


def without_prefixes(value: Any) -> Any:
    """The same JSON value with `xdm:` taken off every key: both spellings name one field (PQL D-XDM).

    Done once when data comes in, never per rule. Where both spellings stand side by side, the plain
    one wins. Depth is bounded by whoever decoded the value.
    """
    if isinstance(value, Mapping):
        plain = {
            key.removeprefix("xdm:"): without_prefixes(member)
            for key, member in value.items()
            if key.startswith("xdm:")
        }
        plain.update(
            (key, without_prefixes(member))
            for key, member in value.items()
            if not key.startswith("xdm:")
        )
        return plain
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [without_prefixes(member) for member in value]
    return value
