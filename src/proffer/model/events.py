"""A decision as it is put on record: everything to say what was answered, why, and to decide it again."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from proffer.model.capping import CapKey
from proffer.model.identity import IdentityKey
from proffer.model.ids import CHANCE
from proffer.model.request import DecisionRequest

EDGE = "edge"
"""The surface whose scopes have proposition ids of their own."""
_NAMESPACE = uuid.UUID("8f0c1c9e-7d0b-4a52-9d36-6b1f0a5c77e1")
"""Ours: the ids that the edge hands out for the scopes of a decision are made in it."""
_NAMESPACE_BYTES = _NAMESPACE.bytes
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def decision_id(now_us: int) -> str:
    """A new id for a decision at this moment: a UUID of version 7, so that the id says when it was."""
    moment = f"{max(now_us, 0) // 1000 & 0xFFFF_FFFF_FFFF:012x}"
    chance = CHANCE.take(19)
    return (
        f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{_VARIANT[chance[3]]}{chance[4:7]}-{chance[7:19]}"
    )


def moment_ms(decision: str) -> int | None:
    """The moment that a decision's id says, in milliseconds since 1970; None for any other id."""
    if len(decision) == 36 and decision[14] == "7":
        try:
            return int(decision[:8] + decision[9:13], 16)
        except ValueError:
            return None
    try:
        found = uuid.UUID(decision)
    except ValueError:
        return None
    return found.int >> 80 if found.version == 7 else None


def edge_digest(decision: str, index: int) -> bytes:
    """What the proposition id of one scope of a decision is made of: its first 48 bits are the id's."""
    name = _NAMESPACE_BYTES + f"{decision}/{index}".encode()
    return hashlib.sha1(name, usedforsecurity=False).digest()


def edge_proposition_id(decision: str, index: int) -> str:
    """The proposition id that the edge gives for one scope of a decision (R34)."""
    # UUIDv5, as `uuid.uuid5(_NAMESPACE, f"{decision}/{index}")` makes it, in a quarter of the time.
    found = edge_digest(decision, index).hex()
    variant = _VARIANT[found[16]]
    return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{variant}{found[17:20]}-{found[20:32]}"


def edge_token(decision: str, index: int) -> str:
    """What clients send back with feedback on that proposition: it saves looking up which decision it was."""
    return f"{decision}.{index}"


class Selection(Struct, frozen=True, kw_only=True, array_like=True):
    """An offer that was given: its version, what it scored and how, and which component was shown.

    `score` is None where the priority alone ranked it. `component` is its place among the components of
    the offer's representation for the placement; None where there was no content.
    """

    offer: str
    etag: int
    rank: int = 0
    score: float | None = None
    formula: str | None = None
    component: int | None = None


class ScopeAnswer(Struct, frozen=True, kw_only=True, array_like=True):
    """What one scope was answered: selections, best first, or the fallback; ids and versions."""

    decision: str
    decision_etag: int
    placement: str
    placement_etag: int
    selections: tuple[Selection, ...] = ()
    fallback: Selection | None = None


class DecisionEvent(Struct, frozen=True, kw_only=True):
    """One decision, with all that gives the same answer again on the library at `revision`.

    `answers` stand in the order of the scopes asked, None for one that nobody can answer.
    `identities` are those asked for that may name somebody, the primary one first. `subject` is who was
    counted, known once it is on record: a customer, an identity, or nobody. `attributes` and `events`
    are what the decision read of the customer. Of a `redacted` one that was taken out, with everything
    else that says whom it was for. `without` names what a decision made while the database was away did
    without: `counters`, or `customer` as well.
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
    found: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    usage: Mapping[CapKey, int] = field(default_factory=dict)
    subject: int | IdentityKey | None = None
    without: str = ""
    redacted: bool = False

    @property
    def seed(self) -> str:
        """What the draws among ties were made from (R34)."""
        return self.id

    @property
    def given(self) -> tuple[tuple[str, str], ...]:
        """Every offer given, each with its placement, once for each scope (R21)."""
        return tuple(
            [
                (selection.offer, answer.placement)
                for answer in self.answers
                if answer is not None
                for selection in answer.selections
            ]
        )
