"""Contract tests of feedback storage. Subclass `FeedbackContract` as in `store_contract.py`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proffer.model.attribution import (
    AttributedFeedback,
    CounterIncrement,
    DeliveredOffer,
    UnattributedReason,
    UnattributedReport,
)
from proffer.model.capping import (
    NO_SUBJECTS,
    CapEntity,
    CapLimit,
    CapScope,
    CapSubjects,
    CapUsage,
    OfferCaps,
    OfferLimits,
    Repeat,
    RepeatUnit,
)
from proffer.model.customer import ProfileRecord, RedactionResult
from proffer.model.events import DecisionEvent, ScopeAnswer, Selection, new_decision_id
from proffer.model.feedback import Feedback, FeedbackKind, PropositionReport
from proffer.model.identity import IdentityKey
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.store.ports import Store
from proffer.testing.store_contract import NOON, SECOND, Contract, a_container, store_test

ANN, COOKIE, BOB = (IdentityKey(*pair) for pair in (("Email", "ann@x"), ("ECID", "1"), ("Email", "bob@x")))
GOLD, WEB, MAIL = "xcore:personalized-offer:1", "xcore:offer-placement:1", "xcore:offer-placement:2"
DAY = 86_400 * SECOND


def a_limit(name: str = "1", limit: int = 100, **changes: Any) -> CapLimit:
    defaults: dict[str, Any] = {"scope": CapScope.GLOBAL, "events": frozenset({"impression"})}
    return CapLimit(name=name, limit=limit, **{**defaults, **changes})


def an_event(
    key: str = "e1",
    *,
    offers: Sequence[str] = (GOLD,),
    placement: str = WEB,
    who: tuple[IdentityKey, ...] = (ANN,),
    kind: FeedbackKind = FeedbackKind.DISPLAY,
    event: str = "impression",
    at: int = 0,
    rules: Sequence[str] = (),
    missed: bool = False,
    decision: str = "d1",
    **document: Any,
) -> AttributedFeedback:
    """Return an event of `who` about offers of their decision."""
    at_us = NOON + at * SECOND
    return AttributedFeedback(
        feedback=Feedback(
            id=key,
            kind=kind,
            at_us=at_us,
            propositions=(
                PropositionReport(decision, "scope", (GOLD,), "hint", ("token",)),
                PropositionReport("p2"),
            ),
            identities=who,
            document={"_id": key, **document},
        ),
        received_us=at_us + 1,
        delivered_offers=tuple(DeliveredOffer(decision, "d", placement, offer) for offer in offers),
        unattributed=(
            UnattributedReport("p2", None, UnattributedReason.UNKNOWN),
            UnattributedReport("p2", "x", UnattributedReason.ITEM),
        )
        if missed
        else (),
        increments=tuple(CounterIncrement(offer, placement, who, at_us) for offer in offers),
        cap_events=frozenset({event}),
        rules=frozenset(rules),
    )


def a_decision_event(*who: IdentityKey, at: int = 0, **changes: Any) -> DecisionEvent:
    """Return a decision event for `who` with offer GOLD in placement WEB."""
    now_us = NOON + at * SECOND
    defaults: dict[str, Any] = {
        "id": new_decision_id(now_us),
        "container": "c1",
        "decided_us": now_us,
        "revision": 1,
        "surface": "hub",
        "request": DecisionRequest(
            scopes=(ScopeRequest("d", WEB),), context={"t": {"city": "Ulm"}}, event={"city": "Ulm"}
        ),
        "answers": (
            ScopeAnswer(
                decision="d",
                decision_etag=1,
                placement=WEB,
                placement_etag=1,
                selections=(Selection(offer=GOLD, etag=1),),
            ),
        ),
        "identities": who,
        "request_id": "r1",
        "customer_found": True,
        "attributes": {"person": {"age": 40}, "wide": 2**70},
        "events": ({"eventType": "seen"},),
    }
    return DecisionEvent(**{**defaults, **changes})


async def create_container(store: Store, *limits: CapLimit) -> None:
    await store.ensure_container(a_container())
    caps = [OfferCaps(offer=GOLD, limits=limits, approved=True, moment_us=NOON - 30 * DAY)]
    await store.ensure_caps("c1", 1, caps)


async def usage_of(
    store: Store, *limits: CapLimit, who: CapSubjects = NO_SUBJECTS, at: int = 0
) -> dict[tuple[str, str], int]:
    """Return the counts of these limits of GOLD, by (name, placement)."""
    await store.catch_up(NOON + at * SECOND)
    usage: CapUsage = await store.usage("c1", OfferLimits((GOLD, limit) for limit in limits), who, NOON + at * SECOND)
    return {(name, placement): count for (_, name, placement), count in usage.counts.items()}


async def event_ids(store: Store, **options: Any) -> list[str]:
    rows = await store.feedback_events("c1", 0, 100, **options)
    return [event.feedback.id for _, event in rows]


class FeedbackContract(Contract):
    """Contract of `FeedbackStore`."""

    @store_test
    async def test_an_event_comes_back_as_it_was(self, store: Store) -> None:
        """All fields are returned except the counter increments."""
        await create_container(store)
        event = an_event(missed=True, n=[1, 2.5, None, {"ü": 2**63}, 2**70, -(2**64)])

        assert list(await store.add_feedback("c1", [event])) == [True]

        ((number, back),) = await store.feedback_events("c1", 0, 10)
        assert number > 0
        assert (back.feedback, back.received_us) == (event.feedback, event.received_us)
        assert (back.delivered_offers, back.unattributed) == (
            event.delivered_offers,
            event.unattributed,
        )

    @store_test
    async def test_an_event_counts_once(self, store: Store) -> None:
        """Repeats of an event id do not count: in one call, in several, concurrent, or changed."""
        limit = a_limit()
        await create_container(store, limit)
        again = an_event(kind=FeedbackKind.INTERACT)

        assert list(await store.add_feedback("c1", [an_event(), an_event()])) == [True, False]
        assert list(await store.add_feedback("c1", [again])) == [False]
        results = await asyncio.gather(*(store.add_feedback("c1", [an_event("e2"), an_event("e3")]) for _ in range(5)))

        assert sorted(flag for flags in results for flag in flags).count(True) == 2
        assert await usage_of(store, limit) == {("1", ""): 3}
        assert await event_ids(store) == ["e1", "e2", "e3"]
        assert list(await store.add_feedback("c1", [])) == []

    @store_test
    async def test_an_event_moves_what_counts_it(self, store: Store) -> None:
        """It increments limits of its event type and placement, once per offer."""
        total = a_limit("1")
        each = a_limit("2", entity=CapEntity.PLACEMENT)
        mail = a_limit("3", placements=frozenset({MAIL}))
        click = a_limit("4", events=frozenset({"click"}))
        both = a_limit("5", events=frozenset({"click", "impression"}))
        decided = a_limit("6", events=frozenset({"decisioning"}))
        limits = (total, each, mail, click, both, decided)
        await create_container(store, *limits)
        await store.add_feedback(
            "c1",
            [
                an_event("e1"),
                an_event("e2", placement=MAIL),
                an_event("e3", event="click", kind=FeedbackKind.INTERACT),
                an_event("e4", offers=["another"]),
            ],
        )

        assert await usage_of(store, *limits) == {
            ("1", ""): 2,
            ("2", WEB): 1,
            ("2", MAIL): 1,
            ("3", ""): 1,
            ("4", ""): 1,
            ("5", ""): 3,
        }

    @store_test
    async def test_custom_events_move_by_their_rules(self, store: Store) -> None:
        """A limit with a rule counts matching events; one without counts every custom event."""
        custom = frozenset({"custom"})
        bought = a_limit("1", events=custom, custom_rule="bought")
        any_custom = a_limit("2", events=custom)
        await create_container(store, bought, any_custom)
        await store.add_feedback(
            "c1",
            [
                an_event("e1", event="custom", kind=FeedbackKind.CUSTOM, rules=["bought"]),
                an_event("e2", event="custom", kind=FeedbackKind.CUSTOM, rules=["other"]),
                an_event("e3", rules=["bought"]),
            ],
        )

        assert await usage_of(store, bought, any_custom) == {("1", ""): 2, ("2", ""): 2}

    @store_test
    async def test_it_counts_for_whom_the_decision_was(self, store: Store) -> None:
        """It counts for the oldest reached customer, else for the first identity."""
        profile_limit = a_limit("1", scope=CapScope.PROFILE)
        await create_container(store, profile_limit)
        await store.add_feedback("c1", [an_event("e1"), an_event("e2", who=(COOKIE,))])
        anonymous = CapSubjects((), (ANN, COOKIE))
        assert await usage_of(store, profile_limit, who=anonymous) == {("1", ""): 2}

        record = ProfileRecord(identities=(ANN, COOKIE), dataset="d", stamped_us=NOON)
        (change_result,) = await store.apply_changes("c1", [record], now_us=NOON)
        assert change_result.key is not None
        await store.add_feedback("c1", [an_event("e3"), an_event("e4", who=(BOB,))])

        subjects = CapSubjects((change_result.key,), (ANN, COOKIE))
        assert await usage_of(store, profile_limit, who=subjects) == {("1", ""): 3}
        assert await usage_of(store, profile_limit, who=CapSubjects((), (BOB,))) == {("1", ""): 1}

    @store_test
    async def test_nobody_counts_in_total_alone(self, store: Store) -> None:
        """Without identities only total limits count."""
        profile_limit, total = a_limit("1", scope=CapScope.PROFILE), a_limit("2")
        await create_container(store, profile_limit, total)
        await store.add_feedback("c1", [an_event("e1", who=())])

        assert await usage_of(store, profile_limit, total) == {("2", ""): 1}

    @store_test
    async def test_facts_count_beyond_the_limit(self, store: Store) -> None:
        """Feedback is counted even beyond the limit."""
        limit = a_limit(limit=1)
        await create_container(store, limit)
        await store.add_feedback("c1", [an_event("e1"), an_event("e2"), an_event("e3")])

        assert await usage_of(store, limit) == {("1", ""): 3}

    @store_test
    async def test_a_late_event_counts_in_its_own_period(self, store: Store) -> None:
        """A late event counts in the period of its own time."""
        daily = a_limit(repeat=Repeat(RepeatUnit.DAY))
        await create_container(store, daily)
        await store.add_feedback("c1", [an_event("e1", at=-86_400), an_event("e2")])

        assert await usage_of(store, daily) == {("1", ""): 1}
        assert await usage_of(store, daily, at=86_400) == {}

    @store_test
    async def test_an_event_is_attributed_late(self, store: Store) -> None:
        """Late attribution counts new items once; data erased meanwhile stays erased."""
        total, each = a_limit("1"), a_limit("2", entity=CapEntity.PLACEMENT)
        await create_container(store, total, each)
        await store.ensure_container(a_container("c2", sandbox="dev"))
        before = an_event("e1", missed=True, note="x")
        await store.add_feedback("c1", [before, an_event("e2", offers=[], missed=True)])
        (first, _), (second, _) = await store.feedback_events("c1", 0, 10, unattributed_only=True)
        attributed = replace(
            before,
            unattributed=(),
            delivered_offers=(*before.delivered_offers, DeliveredOffer("d2", "d", MAIL, GOLD)),
            increments=(*before.increments, CounterIncrement(GOLD, MAIL, (ANN,), NOON)),
        )
        still = an_event("e2", offers=[], missed=True)
        await store.redact("c1", [ANN])

        assert await store.attribute_late("c1", [(first, attributed), (second, still)]) == 1
        assert await store.attribute_late("c1", [(first, attributed), (9_999, attributed)]) == 0
        assert await store.attribute_late("c2", [(first, attributed)]) == 0
        assert await store.attribute_late("c1", []) == 0

        assert await usage_of(store, total, each) == {("1", ""): 2, ("2", WEB): 1, ("2", MAIL): 1}
        assert await event_ids(store, unattributed_only=True) == ["e2"]
        (_, back), _ = await store.feedback_events("c1", 0, 10)
        assert (back.delivered_offers, back.unattributed) == (attributed.delivered_offers, ())
        assert (back.feedback.identities, dict(back.feedback.document)) == ((), {})

    @store_test
    async def test_events_come_in_pages(self, store: Store) -> None:
        """Pages are in order of number, each event once, per container."""
        await create_container(store)
        await store.ensure_container(a_container("c2", sandbox="dev"))
        await store.add_feedback("c2", [an_event("e1")])
        for number in range(7):
            await store.add_feedback("c1", [an_event(f"e{number}", missed=number % 3 == 0)])
        seen: list[str] = []
        after = 0
        while page := await store.feedback_events("c1", after, 3):
            assert len(page) <= 3
            numbers = [number for number, _ in page]
            assert numbers == sorted(set(numbers))
            assert numbers[0] > after
            seen += [event.feedback.id for _, event in page]
            after = numbers[-1]

        assert seen == [f"e{number}" for number in range(7)]
        assert await event_ids(store, unattributed_only=True) == ["e0", "e3", "e6"]
        assert await store.feedback_events("nowhere", 0, 10) == type(page)()

    @store_test
    async def test_old_events_are_forgotten(self, store: Store) -> None:
        """Deletes by age, then by size, oldest first; the newest stays, and numbers keep rising."""
        limit = a_limit()
        await create_container(store, limit)
        for number in range(6):
            await store.add_feedback("c1", [an_event(f"e{number}", at=number)])

        assert await store.purge_feedback(NOON + 2 * SECOND) == 2
        assert await event_ids(store) == ["e2", "e3", "e4", "e5"]
        assert await store.purge_feedback(0, 10**9) == 0
        assert await store.purge_feedback(0, 1) == 3
        assert await store.purge_feedback(NOON + 100 * SECOND) == 0
        assert await usage_of(store, limit) == {("1", ""): 6}
        ((before, _),) = await store.feedback_events("c1", 0, 10)
        await store.add_feedback("c1", [an_event("e0", at=9)])
        ((number, back),) = await store.feedback_events("c1", before, 10)
        assert number > before
        assert back.feedback.id == "e0"

    @store_test
    async def test_no_more_is_forgotten_than_is_too_much(self, store: Store) -> None:
        """A shrinking size limit deletes events one by one, oldest first."""
        await create_container(store)
        for number in range(6):
            await store.add_feedback("c1", [an_event(f"e{number}", at=number)])

        remaining = [await event_ids(store)]
        for max_bytes in range(6000, 0, -50):
            await store.purge_feedback(0, max_bytes)
            remaining.append(await event_ids(store))
        sizes = [len(ids) for ids in remaining]
        assert set(sizes) == {1, 2, 3, 4, 5, 6}
        assert all(ids == remaining[0][6 - len(ids) :] for ids in remaining)

    @store_test
    async def test_forgetting_decisions_breaks_nothing_newer(self, store: Store) -> None:
        """Newer decisions keep their order and numbers."""
        await create_container(store)
        events = [a_decision_event(ANN, at=number) for number in range(4)]
        for event in events:
            await store.record("c1", event)
        before = await store.decision_events("c1", 0, 10)
        assert await store.oldest_decision_ms("c1") == NOON // 1000

        assert await store.purge_decisions(NOON + 2 * SECOND) == 2

        assert list(await store.decision_events("c1", 0, 10)) == list(before[2:])
        assert await store.oldest_decision_ms("c1") == (NOON + 2 * SECOND) // 1000
        assert await store.oldest_decision_ms("nowhere") is None
        assert [await store.decision_event("c1", event.id) is not None for event in events] == [
            False,
            False,
            True,
            True,
        ]

    @store_test
    async def test_a_decision_is_found_whatever_clocks_did(self, store: Store) -> None:
        """Decisions written together with distant times are found by id."""
        await create_container(store)
        events = [a_decision_event(ANN, at=at) for at in (0, 3600, -30 * 86_400, 61, 59, 0)]
        await asyncio.gather(*(store.record("c1", event) for event in events))

        for event in events:
            stored = await store.decision_event("c1", event.id)
            assert stored is not None
            assert (stored.id, stored.decided_us) == (event.id, event.decided_us)
        ids = [event.id for event in events]
        many = await store.decisions_of("c1", [*ids, "no id", new_decision_id(NOON)])
        assert {key: event.id for key, event in many.items()} == {key: key for key in ids}
        strange = a_decision_event(ANN, at=-400 * 86_400)
        assert await store.decision_event("c1", strange.id) is None
        assert await store.decision_event("c1", "no id") is None

    @store_test
    async def test_a_person_is_taken_out_of_the_record(self, store: Store) -> None:
        """Redaction by any identity removes personal data and keeps offers; others are unchanged."""
        await create_container(store, a_limit())
        redacted_event, other_event = a_decision_event(ANN, COOKIE), a_decision_event(BOB)
        for event in (redacted_event, other_event):
            await store.record("c1", event)
        await store.add_feedback(
            "c1",
            [
                an_event("e1", who=(ANN,), decision="elsewhere", email="ann@x"),
                an_event("e2", who=(), decision=redacted_event.id, email="ann@x"),
                an_event("e3", who=(BOB,), decision=other_event.id, email="bob@x"),
            ],
        )

        assert await store.redact("c1", [COOKIE, ANN]) == RedactionResult(decisions=1, feedback=2)
        assert await store.redact("c1", [COOKIE, ANN]) == RedactionResult(decisions=0, feedback=0)

        redacted = await store.decision_event("c1", redacted_event.id)
        assert redacted is not None
        assert (redacted.redacted, redacted.identities, redacted.subject) == (True, (), None)
        assert (dict(redacted.attributes), list(redacted.events), redacted.request_id) == (
            {},
            [],
            None,
        )
        assert (dict(redacted.request.context), redacted.request.event) == ({}, None)
        assert (redacted.answers, redacted.request.scopes) == (
            redacted_event.answers,
            redacted_event.request.scopes,
        )
        unchanged = await store.decision_event("c1", other_event.id)
        assert unchanged is not None
        assert (unchanged.attributes, unchanged.identities, unchanged.redacted) == (
            other_event.attributes,
            (BOB,),
            False,
        )
        feedback_events = [event for _, event in await store.feedback_events("c1", 0, 10)]
        assert [dict(feedback_event.feedback.document) for feedback_event in feedback_events] == [
            {},
            {},
            {"_id": "e3", "email": "bob@x"},
        ]
        assert [feedback_event.feedback.identities for feedback_event in feedback_events] == [
            (),
            (),
            (BOB,),
        ]
        assert [feedback_event.delivered_offers[0].event for feedback_event in feedback_events] == [
            "elsewhere",
            redacted_event.id,
            other_event.id,
        ]
        assert list(await store.add_feedback("c1", [an_event("e1")])) == [False]

    @store_test
    async def test_a_reservation_can_be_looked_at(self, store: Store) -> None:
        """A reservation is held until it expires; None if there is none."""
        await create_container(store, a_limit(events=frozenset({"decisioning"})))
        event = a_decision_event(ANN)
        await store.record("c1", event, ttl_us=5 * SECOND)

        reservation = await store.reservation("c1", event.id, NOON + 4 * SECOND)
        expired = await store.reservation("c1", event.id, NOON + 5 * SECOND)
        assert reservation is not None
        assert expired is not None
        assert [reservation.state.value, expired.state.value] == ["held", "expired"]
        assert reservation.expires_us == NOON + 5 * SECOND
        assert await store.reservation("c1", "nothing", NOON) is None
        assert await store.reservation("c2", event.id, NOON) is None
