"""Decision events: the record of a decision, sufficient to explain and replay it."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, field

from proffer.model.capping import CapKey
from proffer.model.identity import IdentityKey
from proffer.model.ids import RANDOM_DIGITS
from proffer.model.request import DecisionRequest
from proffer.model.trace import Stage

EDGE = "edge"
"""The interface in which every scope has its own proposition id."""
_NAMESPACE = uuid.UUID("8f0c1c9e-7d0b-4a52-9d36-6b1f0a5c77e1")
"""UUID namespace of the edge proposition ids."""
_NAMESPACE_BYTES = _NAMESPACE.bytes
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_decision_id(now_us: int) -> str:
    """Return a new decision id: a UUID of version 7, which contains the time."""
    moment = f"{max(now_us, 0) // 1000 & 0xFFFF_FFFF_FFFF:012x}"
    random_digits = RANDOM_DIGITS.take(19)
    variant = f"{_VARIANT[random_digits[3]]}{random_digits[4:7]}"
    return f"{moment[:8]}-{moment[8:]}-7{random_digits[:3]}-{variant}-{random_digits[7:19]}"


def decision_time_ms(decision: str) -> int | None:
    """Return the time in a decision id, in milliseconds since 1970; None for other ids."""
    if len(decision) == 36 and decision[14] == "7":
        try:
            return int(decision[:8] + decision[9:13], 16)
        except ValueError:
            return None
    try:
        parsed = uuid.UUID(decision)
    except ValueError:
        return None
    return parsed.int >> 80 if parsed.version == 7 else None


def edge_proposition_digest(decision: str, index: int) -> bytes:
    """Return the SHA-1 digest of a scope's edge proposition id; both share the first 48 bits."""
    name = _NAMESPACE_BYTES + f"{decision}/{index}".encode()
    return hashlib.sha1(name, usedforsecurity=False).digest()


def edge_proposition_id(decision: str, index: int) -> str:
    """Return the edge proposition id of one scope of a decision (R34)."""
    # Equal to `uuid.uuid5(_NAMESPACE, f"{decision}/{index}")`, in a quarter of the time.
    digest = edge_proposition_digest(decision, index).hex()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def edge_token(decision: str, index: int) -> str:
    """Return the token that clients send back with feedback. It saves a lookup."""
    return f"{decision}.{index}"


class ItemToken(NamedTuple):
    """A delivered item: decision, position of the scope in the request, position in the scope's result."""

    decision: str
    scope: int
    item: int

    @property
    def propositions(self) -> frozenset[str]:
        """The ids of the propositions that contain the item: the decision, and that of the edge."""
        return frozenset((self.decision, edge_proposition_id(self.decision, self.scope)))


def item_token(scope_token: str, item: int) -> str:
    """Return the tracking token of an item, from the `edge_token` of its scope; it is not stored."""
    return f"{scope_token}.{item}"


def read_item_token(text: str) -> ItemToken | None:
    """Return the parts of a tracking token; None for other texts."""
    decision, *positions = text.split(".")
    if len(positions) != 2 or decision_time_ms(decision) is None:
        return None
    if not all(position.isascii() and position.isdigit() and len(position) < 4 for position in positions):
        return None
    return ItemToken(decision, int(positions[0]), int(positions[1]))


class Selection(Struct, frozen=True, kw_only=True, array_like=True):
    """A delivered offer: version, rank, score, formula, component and criterion.

    `score` is None if the priority ranked it. `component` is the index among the components of the
    offer's representation for the placement; None without content. `criterion` is the index among the
    criteria of the decision; None for a fallback. `token` is the item's tracking token where it is not
    the derived `item_token`. Stored as a list: new members are appended.
    """

    offer: str
    etag: int
    rank: int = 0
    score: float | None = None
    formula: str | None = None
    component: int | None = None
    criterion: int | None = None
    token: str | None = None


class LearnedRanking(Struct, frozen=True, kw_only=True, array_like=True):
    """What a learned ranking used, so that its propensities can be computed later.

    `state`: number of the model state. `draw`: traffic kind × 64 + head. `won`, `other`: heads of this and
    of the second traffic kind that put the first selection first; −1: not computed. `arms`: bit i is set if
    arm i of the state was eligible. `features`: numbers of the active features.
    """

    state: int
    draw: int
    won: int
    other: int
    arms: bytes = b""
    features: bytes = b""


DROPPED_STAGES = (
    Stage.CALENDAR,
    Stage.CRITERION,
    Stage.ELIGIBILITY,
    Stage.CAPPING,
    Stage.DEDUP,
    Stage.CONTENT,
)
"""The stages of `ScopeAnswer.dropped`, in order."""


def records_dropped(decision: str) -> bool:
    """Return whether a decision records `dropped`: one in 16, those whose id ends in 0."""
    return decision.endswith("0")


class ScopeAnswer(Struct, frozen=True, kw_only=True, array_like=True):
    """The result of one scope: selections, best first, or the fallback; ids and versions.

    `dropped`: candidates excluded at each of `DROPPED_STAGES`, in decisions that record it
    (`records_dropped`); a candidate of several criteria counts once, at the latest stage that it reached.
    Offers beyond those needed are not checked for content. `learned`: set if a model ranked. `arm`: number
    of the experiment (0: the holdout) and of its arm. Stored as a list: new members are appended.
    """

    decision: str
    decision_etag: int
    placement: str
    placement_etag: int
    selections: tuple[Selection, ...] = ()
    fallback: Selection | None = None
    dropped: tuple[int, ...] = ()
    learned: LearnedRanking | None = None
    arm: tuple[int, int] | None = None

    @property
    def delivered(self) -> tuple[Selection, ...]:
        """The selections, or the fallback alone."""
        return self.selections if self.fallback is None else (self.fallback,)


class DecisionEvent(Struct, frozen=True, kw_only=True):
    """One decision with all inputs needed to replay it at catalog `revision`.

    `answers` are in the order of the requested scopes, None for an unknown scope. `identities` are the
    valid requested ones, primary first. `subject` is whose counters were incremented, set when recorded:
    a customer, an identity, or None. `attributes` and `events` are the customer data that the decision
    read. `redacted`: all data about the customer was removed. `unavailable_data`: what was missing while
    the database was down: `counters`, or `customer` too. `meaning`: version of the rule language's meaning
    (`proffer.pql.MEANING_VERSION`). `thresholds`: computed limits of the caps that have one, by counter.
    `trust`: bit i is set if identity i counts as proven; None: all do. `policies`: the contact policies
    that took part.
    """

    id: str
    container: str
    decided_us: int
    revision: int
    surface: str
    request: DecisionRequest
    answers: tuple[ScopeAnswer | None, ...]
    identities: tuple[IdentityKey, ...] = ()
    request_id: str | None = None
    customer_found: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[CapKey, int] = field(default_factory=dict)
    subject: int | IdentityKey | None = None
    unavailable_data: str = ""
    redacted: bool = False
    meaning: int = 1
    thresholds: Mapping[CapKey, int] = field(default_factory=dict)
    trust: int | None = None
    policies: Sequence[Any] = ()

    @property
    def seed(self) -> str:
        """The seed of the tie-break (R34)."""
        return self.id

    @property
    def proposed_offers(self) -> tuple[tuple[str, str], ...]:
        """The delivered offers with their placements, once per scope (R21)."""
        return tuple(
            [
                (selection.offer, answer.placement)
                for answer in self.answers
                if answer is not None
                for selection in answer.selections
            ]
        )
