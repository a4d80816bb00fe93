"""What scopes need is worked out once for a snapshot, and anew for the next."""

from proffer.engine.snapshot import Snapshot
from proffer.model.ids import EntityKind
from proffer.service.decisions.requirements import RequirementsCache
from proffer.testing.builders import (
    a_cap,
    a_collection,
    a_criterion,
    a_decision,
    a_fallback,
    a_placement,
    a_rule,
    a_scope,
    a_snapshot,
    an_offer,
    id_of,
)


def a_library(limit: int = 5) -> Snapshot:
    places = ["web", "app"]
    return a_snapshot(
        [
            *map(a_placement, places),
            a_fallback(content=places),
            a_collection("all", any_tags=["t"]),
            a_rule("adult", "person.age >= 18"),
            an_offer("gold", tags=["t"], content=places, caps=[a_cap(limit)], rule="adult"),
            an_offer("iron", tags=["t"], content=places),
            a_decision("home", a_criterion("all", placements=places)),
        ]
    )


def test_scopes_that_meet_the_same_limit_need_it_once() -> None:
    needed = RequirementsCache().get(a_library(), [a_scope("home", "web"), a_scope("home", "app")])
    ((offer, limit),) = needed.caps
    assert (offer, limit.limit) == (id_of(EntityKind.OFFER, "gold"), 5)
    assert needed.reads == {"profile.person.age"}
    assert not needed.reads_events


def test_scopes_that_nobody_can_answer_need_nothing() -> None:
    needed = RequirementsCache().get(a_library(), [a_scope("nothing", "web"), a_scope("home", "mars")])
    assert (needed.caps, needed.reads) == ((), frozenset())


def test_another_snapshot_is_asked_anew() -> None:
    """The same request after a change of the library meets the limits that are in force then."""
    needing, asked = RequirementsCache(), [a_scope("home", "web")]
    first = a_library()
    assert needing.get(first, asked) is needing.get(first, asked)
    ((_, before),) = needing.get(first, asked).caps
    ((_, after),) = needing.get(a_library(limit=3), asked).caps
    assert (before.limit, after.limit) == (5, 3)
