"""Contract tests of counters and decision events. Subclass `CapsContract` as in `store_contract.py`."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from proffer.errors import Conflict, NotFound
from proffer.model.capping import (
    CapEntity,
    CapLimit,
    CapRefusal,
    CapScope,
    DecisionRecorded,
    OfferCaps,
    OfferLimits,
    Repeat,
    RepeatUnit,
    ReservationState,
)
from proffer.model.customer import ProfileRecord
from proffer.model.events import (
    DecisionEvent,
    ScopeAnswer,
    Selection,
    edge_proposition_id,
    new_decision_id,
)
from proffer.model.identity import IdentityKey
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.model.window import TimeWindow
from proffer.store.errors import StaleRevision
from proffer.store.ports import MAX_SEEN_DAYS, Store
from proffer.testing.store_contract import (
    NOON,
    SECOND,
    Contract,
    a_container,
    a_version,
    store_test,
)

DAY = 86_400 * SECOND
ANN, BOB, COOKIE = (IdentityKey(*pair) for pair in (("Email", "ann@x"), ("Email", "bob@x"), ("ECID", "c:1")))
TOTAL_LIMIT = CapLimit(name="1", limit=3, scope=CapScope.GLOBAL)
PROFILE_LIMIT = CapLimit(name="2", limit=2, scope=CapScope.PROFILE)


def parse_us(text: str) -> int:
    """Return a time in microseconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def a_limit(limit: int, scope: str = "global", name: str = "1", **more: Any) -> CapLimit:
    return CapLimit(name=name, limit=limit, scope=CapScope(scope), **more)


def caps_of(*limits: CapLimit, offer: str = "gold", approved: bool = True, **more: Any) -> OfferCaps:
    return OfferCaps(offer=offer, limits=limits, approved=approved, **{"moment_us": NOON, **more})


def a_decision(
    *selections: tuple[str, str],
    who: Sequence[IdentityKey] = (ANN,),
    now: int = NOON,
    surface: str = "ode",
    **more: Any,
) -> DecisionEvent:
    """Return a decision event with one scope per (offer, placement); by default `gold` in `web`."""
    selections = selections or (("gold", "web"),)
    return DecisionEvent(
        **{
            "id": new_decision_id(now),
            "container": "c1",
            "decided_us": now,
            "revision": 1,
            "surface": surface,
            "request": DecisionRequest(scopes=tuple(ScopeRequest("welcome", place) for _, place in selections)),
            "answers": tuple(
                ScopeAnswer(
                    decision="welcome",
                    decision_etag=4,
                    placement=place,
                    placement_etag=2,
                    selections=(Selection(offer=offer, etag=7, rank=1),),
                )
                for offer, place in selections
            ),
            "identities": tuple(who),
            **more,
        }
    )


async def create_caps(store: Store, *caps: OfferCaps, revision: int = 1) -> None:
    await store.ensure_container(a_container())
    await store.ensure_caps("c1", revision, caps)


async def try_record(store: Store, *selections: tuple[str, str], ttl_us: int | None = None, **more: Any) -> bool:
    """Record such a decision; return whether it was accepted."""
    outcome = await store.record("c1", a_decision(*selections, **more), ttl_us=ttl_us)
    return isinstance(outcome, DecisionRecorded)


async def usage_of(
    store: Store,
    *limits: CapLimit,
    who: Sequence[IdentityKey] = (),
    now: int = NOON,
    placement: str = "",
) -> list[int]:
    """Return the counts of these limits of `gold`; check both ways of reading counters agree."""
    offer_limits = [("gold", item) for item in limits]
    lookup = await store.lookup_for_decision("c1", who)
    assert list(lookup.customers) == list(await store.customers("c1", who))
    subjects = lookup.subjects
    usage = await store.usage("c1", OfferLimits(offer_limits), structs.replace(subjects, counters=None), now)
    assert await store.usage("c1", OfferLimits(offer_limits), subjects, now) == usage
    return [usage.counts.get(("gold", item.name, placement), 0) for item in limits]


async def link_identities(store: Store, *identities: IdentityKey) -> None:
    """Write a record that links these identities to one customer."""
    record = ProfileRecord(identities=identities, dataset="crm", stamped_us=NOON, attributes={"a": 1})
    await store.apply_changes("c1", [record], now_us=NOON)


class CapsContract(Contract):
    """Contract of `CapStore`."""

    @store_test
    async def test_a_limit_is_reached_and_never_passed(self, store: Store) -> None:
        """A decision beyond the limit is refused and gets the current count."""
        await create_caps(store, caps_of(TOTAL_LIMIT))

        assert [await try_record(store) for _ in range(4)] == [True, True, True, False]
        refused = await store.record("c1", a_decision())
        assert isinstance(refused, CapRefusal)
        assert refused.counts == {("gold", "1", ""): 3}
        assert await usage_of(store, TOTAL_LIMIT) == [3]

    @store_test
    async def test_many_at_once_share_what_there_is(self, store: Store) -> None:
        """Of eighty concurrent decisions the limits' number is accepted exactly."""
        await create_caps(store, caps_of(a_limit(30), a_limit(2, "profile", name="2")))
        customers = [IdentityKey("Email", f"{number % 20}@x") for number in range(80)]
        outcomes = await asyncio.gather(*(try_record(store, who=[customer]) for customer in customers))

        assert sum(outcomes) == 30
        for person in set(customers):
            assert sum(ok for ok, customer in zip(outcomes, customers, strict=True) if customer == person) <= 2

    @store_test
    async def test_the_use_of_an_offer_is_told_long_before_its_limit(self, store: Store) -> None:
        """For all placements together, or for each; 0 where nothing was counted."""
        each_place = a_limit(5_000, name="2", entity=CapEntity.PLACEMENT)
        await create_caps(store, caps_of(a_limit(5_000), each_place, a_limit(9, "profile", name="3")))
        assert await store.global_usage("c1", "gold", NOON) == {("gold", "1", ""): 0, ("gold", "2", ""): 0}
        assert await try_record(store, ("gold", "web"))
        assert await try_record(store, ("gold", "mail"), who=[BOB])
        counts = {("gold", "1", ""): 2, ("gold", "2", "web"): 1, ("gold", "2", "mail"): 1}
        assert await store.global_usage("c1", "gold", NOON) == counts
        assert await store.global_usage("c1", "silver", NOON) == {}

    @store_test
    async def test_each_profile_is_counted_for_itself(self, store: Store) -> None:
        """Profile limits count per customer; without identities only within one decision."""
        await create_caps(store, caps_of(PROFILE_LIMIT))

        assert [await try_record(store) for _ in range(3)] == [True, True, False]
        assert await try_record(store, who=[BOB])
        assert [await try_record(store, who=[]) for _ in range(3)] == [True, True, True]
        twice = [("gold", "web")] * 3
        assert not await try_record(store, *twice, who=[])
        assert await usage_of(store, PROFILE_LIMIT, who=[ANN]) == [2]
        assert await usage_of(store, PROFILE_LIMIT, who=[BOB]) == [1]

    @store_test
    async def test_all_a_decision_gives_is_counted_or_nothing(self, store: Store) -> None:
        """One exhausted limit refuses the whole decision; its scopes add up."""
        await create_caps(store, caps_of(TOTAL_LIMIT), caps_of(a_limit(1), offer="silver"))

        assert await try_record(store, ("silver", "web"), ("gold", "web"))
        assert not await try_record(store, ("gold", "web"), ("silver", "web"))
        assert await usage_of(store, TOTAL_LIMIT) == [1]
        assert not await try_record(store, *[("gold", "web")] * 3)
        assert await try_record(store, *[("gold", "web"), ("gold", "app")])
        assert not await try_record(store)

    @store_test
    async def test_placements_are_counted_together_apart_or_by_name(self, store: Store) -> None:
        """A limit counts over all placements, per placement, or only named placements."""
        per_placement = a_limit(1, entity=CapEntity.PLACEMENT)
        limit_by_name = a_limit(1, name="2", entity=CapEntity.PLACEMENT, placements=frozenset({"app", "tv"}))
        await create_caps(store, caps_of(per_placement), caps_of(limit_by_name, offer="silver"))

        places = ["web", "web", "app", "app"]
        assert [await try_record(store, ("gold", placement)) for placement in places] == [
            True,
            False,
            True,
            False,
        ]
        assert await usage_of(store, per_placement, placement="app") == [1]
        places = ["web", "web", "app", "app", "tv"]
        outcomes = [await try_record(store, ("silver", placement)) for placement in places]
        assert outcomes == [True, True, True, False, True]

    @store_test
    async def test_what_is_not_counted_by_decisions_still_bars(self, store: Store) -> None:
        """A limit on clicks is not counted by decisions; offers without limits are not limited."""
        await create_caps(store, caps_of(a_limit(1, events=frozenset({"click"}))))

        assert [await try_record(store) for _ in range(3)] == [True] * 3
        assert await try_record(store, ("unknown", "web"))

    @store_test
    async def test_counting_begins_anew_with_the_period(self, store: Store) -> None:
        """Counters restart with the period; a clock set back finds the earlier count."""
        daily = a_limit(1, repeat=Repeat(RepeatUnit.DAY, 2))
        await create_caps(store, caps_of(daily, moment_us=parse_us("2026-01-01T12:00")))

        for moment, expected in [
            ("2026-01-01T12:00", True),
            ("2026-01-02T23:59", False),
            ("2026-01-03T00:00", True),
            ("2026-01-02T23:59", False),
            ("2026-01-04T12:00", False),
            ("2026-02-03T12:00", True),
            ("2026-01-04T12:00", False),
            ("2026-01-05T00:00", True),
            ("2026-02-03T23:00", False),
        ]:
            assert await try_record(store, now=parse_us(moment)) is expected, moment

    @store_test
    async def test_counters_end_with_their_offer(self, store: Store) -> None:
        """Counters end with the offer, at latest two years after its start."""
        start, end = parse_us("2026-01-01T00:00"), parse_us("2026-03-01T00:00")
        await create_caps(
            store,
            caps_of(a_limit(1, "profile"), start_us=start, end_us=end),
            caps_of(a_limit(1), offer="silver", start_us=start),
        )
        for offer in ("gold", "silver"):
            assert await try_record(store, (offer, "web"), now=parse_us("2026-02-01T00:00"))
        assert not await try_record(store, now=end)
        assert await try_record(store, now=end + 1)
        assert not await try_record(store, ("silver", "web"), now=parse_us("2027-12-31T23:00"))
        for moment in ("2028-01-01T00:00", "2031-01-01T00:00"):
            outcomes = [await try_record(store, ("silver", "web"), now=parse_us(moment)) for _ in range(2)]
            assert outcomes == [True, False]

    @store_test
    async def test_a_counter_that_began_anew_never_ends_again(self, store: Store) -> None:
        """With differing clocks, late counts are added to the restarted counter."""
        limits = (a_limit(2), a_limit(2, "profile", name="2"))
        start, ends = parse_us("2024-02-29T00:00"), parse_us("2026-03-01T00:00")
        await create_caps(store, caps_of(*limits, start_us=start))

        assert await try_record(store, now=ends + 5)
        assert await try_record(store, now=ends - 5)
        assert await usage_of(store, *limits, who=[ANN], now=ends + 9) == [2, 2]
        assert not await try_record(store, now=ends + 9)

    @store_test
    async def test_a_moved_end_moves_for_every_counter(self, store: Store) -> None:
        """Profile counters go on beyond the old end, whether they were updated before it or not."""
        january, february, march = (parse_us(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limit = a_limit(2, "profile")
        await create_caps(store, caps_of(limit, start_us=january, end_us=february))
        for customer in (ANN, BOB):
            assert await try_record(store, who=[customer], now=january)
        await store.ensure_caps("c1", 2, [caps_of(limit, start_us=january, end_us=march)])
        assert await try_record(store, who=[ANN], now=february - SECOND)

        later = february + SECOND
        assert not await try_record(store, who=[ANN], now=later)
        assert [await try_record(store, who=[BOB], now=later) for _ in range(2)] == [True, False]

    @store_test
    async def test_an_end_may_move_often(self, store: Store) -> None:
        """Later, earlier and back: counters end with the last of the ends, and a reached end begins them anew."""
        january, february, march = (parse_us(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limits = (a_limit(5), a_limit(5, "profile", name="2"))
        await store.ensure_container(a_container())
        for revision, end in enumerate([None, march, february, march + DAY], 1):
            moment = january + revision * DAY
            caps = caps_of(*limits, start_us=january, end_us=end, moment_us=moment)
            await store.ensure_caps("c1", revision, [caps])
            assert await try_record(store, now=moment, who=[IdentityKey("Email", f"{revision}@x")])
        customers = [IdentityKey("Email", f"{revision}@x") for revision in range(1, 5)]
        for moment, used in ((february + DAY, 1), (march, 1), (march + DAY, 1), (march + DAY + 1, 0)):
            for customer in customers:
                assert await usage_of(store, *limits, who=[customer], now=moment) == [4 * used, used], moment
        opened = caps_of(*limits, start_us=january, end_us=march + 9 * DAY, moment_us=march + 3 * DAY)
        await store.ensure_caps("c1", 9, [opened])
        assert await usage_of(store, *limits, who=customers, now=march + 4 * DAY) == [0, 0]

    @store_test
    async def test_deletion_leaves_counters_whose_end_moved(self, store: Store) -> None:
        """They are deleted after the new end; until then they count."""
        limits = (a_limit(1), a_limit(1, "profile", name="2"))
        end, later = NOON + DAY, NOON + 90 * DAY
        await create_caps(store, caps_of(*limits, end_us=end))
        assert await try_record(store)
        await store.ensure_caps("c1", 2, [caps_of(*limits, end_us=later)])
        other = a_limit(9, "global", name="3")
        await store.ensure_caps("c1", 3, [caps_of(*limits, end_us=later), caps_of(other, offer="silver")])
        assert await try_record(store, ("silver", "web"))

        assert await store.purge_counters(NOON + 50 * DAY) == 0
        assert await usage_of(store, *limits, who=[ANN], now=NOON + 60 * DAY) == [1, 1]
        assert await store.purge_counters(later + DAY) == 2

    @store_test
    async def test_the_days_on_which_a_server_ran_are_remembered(self, store: Store) -> None:
        """The first of the last of them, however often each is recorded; later days do not count."""
        assert [await store.record_day(day, 2) for day in (10, 10, 12, 900, 13)] == [None, None, 10, 12, 12]
        assert await store.record_day(13, 4) is None
        for day in range(20, 80):
            await store.record_day(day, 1)
        assert await store.record_day(79, MAX_SEEN_DAYS) == 80 - MAX_SEEN_DAYS

    @store_test
    async def test_a_period_ends_with_nothing_else(self, store: Store) -> None:
        """The end of the offer, two years from its start, and new dates leave the count of a period alone."""
        weekly = a_limit(1, "profile", repeat=Repeat(RepeatUnit.WEEK))
        start, end = parse_us("2020-01-01T00:00"), parse_us("2027-12-30T00:00")
        saturday = parse_us("2028-01-01T00:00")
        await create_caps(store, caps_of(weekly, start_us=start, end_us=end))
        assert await try_record(store, now=end)
        opened = caps_of(weekly, start_us=start, moment_us=end + DAY)
        await store.ensure_caps("c1", 2, [opened])
        assert [await try_record(store, now=moment) for moment in (saturday - 1, saturday, saturday + DAY)] == [
            *[False, False, True]
        ]

    @store_test
    async def test_an_end_that_is_set_holds(self, store: Store) -> None:
        """If an offer gets an end date, counters updated since end then."""
        january, february, march = (parse_us(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limits = (a_limit(1), a_limit(2, "profile", name="2"))
        await create_caps(store, caps_of(*limits[1:], start_us=january))
        assert await try_record(store, now=january)
        await store.ensure_caps("c1", 2, [caps_of(*limits, start_us=january, end_us=february)])
        assert await try_record(store, now=january + DAY)

        assert await usage_of(store, limits[1], who=[ANN], now=february) == [2]
        assert await usage_of(store, limits[1], who=[ANN], now=march) == [0]

    @store_test
    async def test_a_later_start_does_not_carry_on(self, store: Store) -> None:
        """Counters restart only if the offer restarts after its old end."""
        january, february, march = (parse_us(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limits = (a_limit(1), a_limit(1, "profile", name="2"))
        await create_caps(store, caps_of(*limits, start_us=january, end_us=february))
        assert await try_record(store, now=january + DAY)
        within = caps_of(*limits, start_us=january + 2 * DAY, end_us=february)
        await store.ensure_caps("c1", 2, [within])
        assert not await try_record(store, now=january + 3 * DAY)
        after = caps_of(*limits, start_us=february + DAY, end_us=march)
        await store.ensure_caps("c1", 3, [after])
        assert await try_record(store, now=february + 2 * DAY)

    @store_test
    async def test_each_decision_is_held_to_its_own_threshold(self, store: Store) -> None:
        """Of concurrent decisions none is accepted beyond its threshold; one without any is refused."""
        computed = a_limit(0, threshold="offer.stock")
        await create_caps(store, caps_of(computed))
        thresholds = [1, 2, 5, 3, 9, 5, 1, 0, 7, 5] * 3
        key = ("gold", "1", "")
        events = [a_decision(thresholds={key: threshold}) for threshold in thresholds]
        outcomes = await asyncio.gather(*(store.record("c1", event) for event in events))

        accepted = sorted(
            threshold
            for threshold, outcome in zip(thresholds, outcomes, strict=True)
            if isinstance(outcome, DecisionRecorded)
        )
        assert all(threshold > position for position, threshold in enumerate(accepted))
        assert len(accepted) >= 5
        assert await usage_of(store, computed) == [len(accepted)]
        refused = await store.record("c1", a_decision())
        assert isinstance(refused, CapRefusal)
        assert refused.counts == {key: len(accepted)}
        for event, outcome in zip(events, outcomes, strict=True):
            stored = await store.decision_event("c1", event.id)
            assert (stored is not None) is isinstance(outcome, DecisionRecorded)
            assert stored is None or stored.thresholds == event.thresholds
        await store.ensure_caps("c1", 2, [caps_of(a_limit(100))])
        assert await try_record(store), "the limit is fixed again"

    @store_test
    async def test_a_limit_counts_within_its_own_dates(self, store: Store) -> None:
        """Before and after them it neither counts nor refuses; moved dates leave the count alone."""
        window = TimeWindow(NOON, NOON + DAY)
        limit = a_limit(1, window=window)
        await create_caps(store, caps_of(limit))
        for moment, expected in ((-1, True), (0, True), (DAY, False), (DAY + 1, True), (1, False)):
            assert await try_record(store, now=NOON + moment) is expected, moment
        later = a_limit(1, window=TimeWindow(NOON, NOON + 2 * DAY))
        await store.ensure_caps("c1", 2, [caps_of(later)])
        assert not await try_record(store, now=NOON + DAY + 1)

    @store_test
    async def test_an_extended_offer_keeps_its_counts_in_total(self, store: Store) -> None:
        """An exhausted total counter continues although no decision updates it."""
        january, february, march = (parse_us(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        await create_caps(store, caps_of(a_limit(1), start_us=january, end_us=february))
        assert await try_record(store, now=january)
        extended = caps_of(a_limit(1), start_us=january, end_us=march)
        await store.ensure_caps("c1", 2, [extended])
        assert not await try_record(store, now=february + DAY)

    @store_test
    async def test_a_changed_limit_holds_at_once(self, store: Store) -> None:
        """Counts survive changes and removal of a limit; a limit of another kind starts at 0."""
        await create_caps(store, caps_of(a_limit(3)))
        assert [await try_record(store) for _ in range(2)] == [True, True]
        for revision, (limits, expected) in enumerate(
            [
                ([a_limit(2)], False),
                ([a_limit(3)], True),
                ([], True),
                ([a_limit(3)], False),
                ([a_limit(1, repeat=Repeat(RepeatUnit.MONTH))], True),
            ],
            2,
        ):
            await store.ensure_caps("c1", revision, [caps_of(*limits)])
            assert await try_record(store) is expected, limits

    @store_test
    async def test_a_limit_in_force_again_has_its_count(self, store: Store) -> None:
        """An offer that lost its limit and gets it back, in this process too, has what was counted."""
        await create_caps(store, caps_of(TOTAL_LIMIT))
        assert [await try_record(store) for _ in range(2)] == [True, True]
        await store.ensure_caps("c1", 2, [caps_of()])
        assert await usage_of(store, TOTAL_LIMIT) == [0]
        await store.ensure_caps("c1", 3, [caps_of(TOTAL_LIMIT)])

        assert await usage_of(store, TOTAL_LIMIT) == [2]
        assert [await try_record(store) for _ in range(2)] == [True, False]

    @store_test
    async def test_limits_come_into_force_with_their_versions(self, store: Store) -> None:
        """Limits change with a commit; a refused commit or older revision changes nothing."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)], [caps_of(a_limit(1))])
        with pytest.raises(StaleRevision):
            await store.commit("c1", 0, [a_version(1)], [caps_of()])
        await store.ensure_caps("c1", 1, [])
        assert [await try_record(store) for _ in range(2)] == [True, False]
        await store.commit("c1", 1, [a_version(2, etag=2)])
        await store.ensure_caps("c1", 2, [])
        assert await try_record(store)

    @store_test
    async def test_limits_of_a_library_that_moved_on_are_refused(self, store: Store) -> None:
        """Limits read before a concurrent write do not overwrite its limits."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])
        await store.commit("c1", 1, [a_version(2, etag=2)], [caps_of(a_limit(1))])
        with pytest.raises(StaleRevision):
            await store.ensure_caps("c1", 1, [caps_of(a_limit(9))])
        assert [await try_record(store) for _ in range(2)] == [True, False]
        await store.ensure_caps("c1", 2, [caps_of(a_limit(2))])
        assert [await try_record(store) for _ in range(2)] == [True, False]

    @store_test
    async def test_identities_of_one_customer_count_together(self, store: Store) -> None:
        """Counts of all reached customers are summed; the oldest customer is counted."""
        await create_caps(store, caps_of(a_limit(4, "profile", name="2")))
        await link_identities(store, ANN)
        await link_identities(store, BOB)
        for identities in ([ANN], [BOB], [ANN, BOB]):
            assert await try_record(store, who=identities)

        limit = a_limit(4, "profile", name="2")
        assert await usage_of(store, limit, who=[ANN]) == [2]
        assert await usage_of(store, limit, who=[BOB]) == [1]
        assert await usage_of(store, limit, who=[ANN, BOB]) == [3]
        assert [await try_record(store, who=[BOB, ANN]) for _ in range(2)] == [True, False]

    @store_test
    async def test_an_identity_is_counted_until_a_customer_has_it(self, store: Store) -> None:
        """Counts of an identity go to the customer once it is linked."""
        await create_caps(store, caps_of(a_limit(3, "profile", name="2")))
        assert await try_record(store, who=[COOKIE])
        assert await usage_of(store, PROFILE_LIMIT, who=[COOKIE]) == [1]
        assert await usage_of(store, PROFILE_LIMIT, who=[BOB]) == [0]
        await link_identities(store, ANN)
        assert await try_record(store, who=[ANN])
        await link_identities(store, ANN, COOKIE)

        assert await usage_of(store, PROFILE_LIMIT, who=[ANN]) == [2]
        assert await usage_of(store, PROFILE_LIMIT, who=[COOKIE]) == [2]
        assert [await try_record(store, who=[COOKIE]) for _ in range(2)] == [True, False]

    @store_test
    async def test_merged_profiles_add_up(self, store: Store) -> None:
        """Merging customers merges their counters."""
        await create_caps(store, caps_of(a_limit(3, "profile", name="2")))
        for customer in (ANN, BOB):
            await link_identities(store, customer)
            assert await try_record(store, who=[customer])
        await link_identities(store, ANN, BOB)

        assert await usage_of(store, PROFILE_LIMIT, who=[BOB]) == [2]
        assert [await try_record(store, who=[ANN]) for _ in range(2)] == [True, False]

    @store_test
    async def test_what_is_over_adds_nothing(self, store: Store) -> None:
        """When customers merge, an ended counter adds nothing to a running one; one whose end moved adds its count."""
        end, later = NOON + DAY, NOON + 3 * DAY
        limit = a_limit(3, "profile")
        for container, moment, total in (("c1", NOON, 3), ("c2", end + SECOND, 1)):
            await store.ensure_container(a_container(container, sandbox=container))
            await store.ensure_caps(container, 1, [caps_of(limit, end_us=end)])
            for customer in (ANN, BOB):
                change = ProfileRecord(identities=(customer,), dataset="crm", stamped_us=NOON, attributes={})
                await store.apply_changes(container, [change], now_us=NOON)
                await store.record(container, a_decision(who=[customer], container=container))
            await store.ensure_caps(container, 2, [caps_of(limit, end_us=later, moment_us=moment)])
            again = a_decision(who=[BOB], container=container, now=moment + SECOND)
            await store.record(container, again)
            change = ProfileRecord(identities=(ANN, BOB), dataset="crm", stamped_us=NOON, attributes={})
            await store.apply_changes(container, [change], now_us=end + 3 * SECOND)
            (merged,) = await store.customers(container, [ANN])

            subjects = (await store.lookup_for_decision(container, [ANN])).subjects
            assert subjects.owners == (merged.key,)
            await store.catch_up(end + 3 * SECOND)
            usage = await store.usage(container, OfferLimits([("gold", limit)]), subjects, end + 3 * SECOND)
            assert usage.counts == {("gold", "1", ""): total}

    @store_test
    async def test_an_import_claims_identities_too(self, store: Store) -> None:
        """Bulk-imported records of unknown customers claim the counts of their identities."""
        await create_caps(store, caps_of(PROFILE_LIMIT))
        assert await try_record(store, who=[ANN])
        await store.bulk_apply("c1", [(((ANN.namespace, ANN.id),), "crm", NOON, b"{}")], now_us=NOON)
        assert await usage_of(store, PROFILE_LIMIT, who=[ANN]) == [1]
        assert [await try_record(store) for _ in range(2)] == [True, False]

    @store_test
    async def test_erasure_forgets_what_was_counted(self, store: Store) -> None:
        """Erasure deletes counters of customers and unlinked identities, not total counters."""
        await create_caps(store, caps_of(TOTAL_LIMIT, PROFILE_LIMIT))
        await link_identities(store, ANN)
        for customer in (ANN, BOB):
            assert await try_record(store, who=[customer])
        erasures = [await store.erase("c1", customer) for customer in (ANN, BOB, COOKIE)]

        assert [erasure.counters if erasure else None for erasure in erasures] == [1, 1, None]
        assert await usage_of(store, PROFILE_LIMIT, who=[ANN, BOB]) == [0]
        assert await usage_of(store, TOTAL_LIMIT) == [2]

    @store_test
    async def test_a_reservation_counts_until_it_is_given_back(self, store: Store) -> None:
        """Confirming keeps the count; release and expiry give it back."""
        await create_caps(store, caps_of(a_limit(1)))
        for settle, expected in (("release", True), ("expire", True), ("confirm", False)):
            event = a_decision()
            outcome = await store.record("c1", event, ttl_us=10 * SECOND)
            assert outcome == DecisionRecorded(reserved_until_us=NOON + 10 * SECOND)
            assert not await try_record(store)
            if settle == "expire":
                await store.catch_up(NOON + 9 * SECOND)
                assert await usage_of(store, TOTAL_LIMIT) == [1]
                await store.catch_up(NOON + 10 * SECOND)
                assert await usage_of(store, TOTAL_LIMIT) == [0]
            else:
                for _ in range(2):
                    settled = await getattr(store, settle)("c1", event.id, NOON + 1)
                    assert settled.state == ReservationState(settle.rstrip("e") + "ed")
            assert await try_record(store, ttl_us=1) is expected
            await store.catch_up(NOON + 2)

    @store_test
    async def test_an_expired_reservation_is_no_obstacle(self, store: Store) -> None:
        """An expired reservation does not block decisions, even before cleanup."""
        await create_caps(store, caps_of(a_limit(1), a_limit(1, "profile", name="2")))
        assert await try_record(store, ttl_us=5)
        assert not await try_record(store, now=NOON + 4)
        assert await try_record(store, now=NOON + 5)
        assert await usage_of(store, TOTAL_LIMIT, PROFILE_LIMIT, who=[ANN]) == [1, 1]

    @store_test
    async def test_a_reservation_ends_with_what_it_counts(self, store: Store) -> None:
        """A reservation expires with its counter period; later counts are unaffected."""
        end = NOON + 10 * SECOND
        await create_caps(store, caps_of(a_limit(1, "profile"), end_us=end - 1))
        event = a_decision()
        outcome = await store.record("c1", event, ttl_us=DAY)
        assert outcome == DecisionRecorded(reserved_until_us=end)
        assert await try_record(store, now=end)
        assert (await store.release("c1", event.id, end)).state == "expired"
        assert not await try_record(store, now=end)

    @store_test
    async def test_many_reservations_expire_together(self, store: Store) -> None:
        """Reservations of many customers that expire at once are returned to each."""
        await create_caps(store, caps_of(a_limit(300), PROFILE_LIMIT))
        customers = [IdentityKey("Email", f"{number}@x") for number in range(150)]
        events = [a_decision(who=[item]) for item in customers for _ in range(2)]
        await asyncio.gather(*(store.record("c1", item, ttl_us=5) for item in events))
        await store.confirm("c1", events[0].id, NOON)
        assert not await try_record(store, who=[BOB])
        await store.catch_up(NOON + 5)

        assert await usage_of(store, a_limit(300), PROFILE_LIMIT, who=customers[:1]) in (
            [1, 1],
            [0, 1],
        )
        assert await usage_of(store, PROFILE_LIMIT, who=customers[1:]) == [0]
        attempts = [try_record(store, who=[item], now=NOON + 5) for item in customers for _ in range(2)]
        assert sum(await asyncio.gather(*attempts)) == 299

    @store_test
    async def test_a_settled_reservation_stays_so(self, store: Store) -> None:
        """A settled reservation cannot change; an unknown one is not found."""
        await create_caps(store, caps_of(a_limit(5)))
        confirmed, released, expired, plain = (a_decision() for _ in range(4))
        for event in (confirmed, released, expired):
            await store.record("c1", event, ttl_us=10)
        await store.record("c1", plain)
        await store.confirm("c1", confirmed.id, NOON)
        await store.release("c1", released.id, NOON)

        with pytest.raises(Conflict):
            await store.release("c1", confirmed.id, NOON)
        with pytest.raises(Conflict):
            await store.confirm("c1", released.id, NOON)
        with pytest.raises(Conflict):
            await store.confirm("c1", expired.id, NOON + 10)
        assert (await store.release("c1", expired.id, NOON + 10)).state == "expired"
        for unknown in (plain.id, "nothing"):
            with pytest.raises(NotFound):
                await store.release("c1", unknown, NOON)
        assert await usage_of(store, TOTAL_LIMIT) == [2]

    @store_test
    async def test_a_reservation_that_a_fast_clock_ended_stays_ended(self, store: Store) -> None:
        """Its count is given to another decision, so it cannot be confirmed when the clock is back."""
        await create_caps(store, caps_of(a_limit(1)))
        event = a_decision()
        await store.record("c1", event, ttl_us=DAY)
        await store.catch_up(NOON + 400 * DAY)
        assert await try_record(store, now=NOON + SECOND)
        with pytest.raises(Conflict):
            await store.confirm("c1", event.id, NOON + SECOND)
        assert await usage_of(store, TOTAL_LIMIT) == [1]

    @store_test
    async def test_a_release_finds_whom_it_was_counted_for(self, store: Store) -> None:
        """A release after linking and merging decrements the counter that was incremented."""
        await create_caps(store, caps_of(PROFILE_LIMIT))
        event = a_decision(who=[COOKIE])
        await store.record("c1", event, ttl_us=DAY)
        await link_identities(store, BOB, COOKIE)
        await link_identities(store, ANN)
        assert await try_record(store, who=[ANN])
        await link_identities(store, ANN, BOB)
        assert await usage_of(store, PROFILE_LIMIT, who=[ANN]) == [2]
        await store.release("c1", event.id, NOON)

        assert await usage_of(store, PROFILE_LIMIT, who=[ANN]) == [1]

    @store_test
    async def test_a_decision_comes_back_as_it_was(self, store: Store) -> None:
        """All fields and the counted subject are returned; by id in any case, in its container."""
        await create_caps(store, caps_of(PROFILE_LIMIT))
        await link_identities(store, ANN)
        event = a_decision(
            request=DecisionRequest(
                scopes=(ScopeRequest("welcome", "web", 3), ScopeRequest("bye", "", 1)),
                across_placements=True,
                languages=("de", "en"),
                context={"weather": {"celsius": 30.5}},
                event={"celsius": 30.5, "nested": [None, True]},
            ),
            answers=(
                ScopeAnswer(
                    decision="welcome",
                    decision_etag=4,
                    placement="web",
                    placement_etag=2,
                    selections=(
                        Selection(offer="gold", etag=7, rank=1, score=0.1, formula="f", component=2),
                        Selection(offer="silver", etag=1, rank=2),
                    ),
                    fallback=None,
                ),
                None,
            ),
            request_id="request 1",
            customer_found=True,
            attributes={"person": {"age": 40, "name": "Zoë 🎁"}},
            events=({"_id": "e", "n": 2**60},),
            usage={("gold", "2", ""): 1},
        )
        await store.record("c1", event)
        (customer,) = await store.customers("c1", [ANN])

        stored = await store.decision_event("c1", event.id.upper())
        assert stored is not None
        assert stored.subject == customer.key
        assert a_decision(**{**_members(stored), "subject": None}) == event
        assert await store.decision_event("c2", event.id) is None
        assert await store.decision_event("c1", new_decision_id(NOON)) is None
        assert await store.decision_event("c1", "no id") is None

    @store_test
    async def test_a_refused_decision_leaves_no_trace(self, store: Store) -> None:
        """A refused decision is not stored."""
        await create_caps(store, caps_of(a_limit(1)))
        first, second = a_decision(), a_decision()
        await store.record("c1", first)
        await store.record("c1", second)

        assert await store.decision_event("c1", first.id) == first
        assert await store.decision_event("c1", second.id) is None

    @store_test
    async def test_the_edge_finds_a_decision_by_its_scopes(self, store: Store) -> None:
        """An edge decision is found by the proposition id of each scope."""
        await create_caps(store)
        event = a_decision(("gold", "web"), ("gold", "app"), surface="edge")
        hub = a_decision()
        for decision in (event, hub):
            await store.record("c1", decision)

        for index, expected in ((0, event), (1, event), (2, None)):
            proposition = edge_proposition_id(event.id, index)
            assert await store.decision_event("c1", proposition) == expected
        assert await store.decision_event("c1", edge_proposition_id(hub.id, 0)) is None

    @store_test
    async def test_ids_of_the_edge_are_found_whenever_they_are_asked_for(self, store: Store) -> None:
        """Edge ids are found at once and later, per container."""
        await create_caps(store)
        await store.ensure_container(a_container("c2", sandbox="other"))
        decisions: list[DecisionEvent] = []
        for number in range(30):
            new_decisions = [
                a_decision(("free", "web"), ("free", "app"), now=NOON + number * 90_000_000, surface="edge")
                for _ in range(number % 3)
            ]
            for event in new_decisions:
                await store.record("c1", event)
            await store.record("c2", a_decision(surface="edge"))
            decisions += new_decisions
            if number % 7 == 3:
                assert await _by_edge(store, "c1", decisions[-1:]) == decisions[-1:]
            if number == 20:
                assert await store.decision_event("c1", edge_proposition_id("nobody's", 0)) is None
        await store.index_edge_ids()

        assert await _by_edge(store, "c1", decisions) == decisions
        assert await _by_edge(store, "c2", decisions) == []
        assert await store.purge_decisions(NOON + 10 * 90_000_000) > 0
        await store.purge_counters(NOON)
        remaining = [decision for decision in decisions if decision.decided_us >= NOON + 10 * 90_000_000]
        assert await _by_edge(store, "c1", decisions) == remaining

    @store_test
    async def test_decisions_are_read_on_from_where_one_was(self, store: Store) -> None:
        """Each decision is read once, in packs with rising numbers."""
        await create_caps(store)
        seen: list[str] = []
        written: list[str] = []
        after = 0
        for _ in range(3):
            events = [a_decision(now=NOON + number) for number in range(7)]
            written += [event.id for event in events]
            await asyncio.gather(*(store.record("c1", event) for event in events))
            while packs := await store.decision_events("c1", after, 2):
                assert [number for number, _ in packs] == sorted(number for number, _ in packs)
                assert packs[0][0] > after
                after = packs[-1][0]
                seen += [event.id for _, events_ in packs for event in events_]

        assert sorted(seen) == sorted(written)
        assert list(await store.decision_events("c9", 0, 10)) == []

    @store_test
    async def test_a_check_for_writability_changes_nothing(self, store: Store) -> None:
        """It only shows that a write can be committed."""
        await create_caps(store, caps_of(TOTAL_LIMIT))
        await store.record("c1", a_decision())
        before = (await store.revisions(), await store.decision_events("c1", 0, 10))
        await store.check_writable()
        assert (await store.revisions(), await store.decision_events("c1", 0, 10)) == before

    @store_test
    async def test_old_decisions_are_forgotten(self, store: Store) -> None:
        """Deletes decisions before a time, then the oldest over a size; numbers keep rising."""
        await create_caps(store, caps_of(TOTAL_LIMIT))
        events = [a_decision(now=NOON + day * DAY) for day in range(3)]
        for event in events:
            await store.record("c1", event)

        assert await store.purge_decisions(NOON + DAY) == 1
        assert await store.decision_event("c1", events[0].id) is None
        assert await store.decision_event("c1", events[1].id) == events[1]
        (*_, (newest, _)) = await store.decision_events("c1", 0, 10)
        assert await store.purge_decisions(0, max_bytes=1) == 1
        await store.record("c1", a_decision(("other", "web"), now=NOON + 3 * DAY))
        (*_, (number, _)) = await store.decision_events("c1", 0, 10)
        assert number > newest
        assert await usage_of(store, TOTAL_LIMIT) == [3]

    @store_test
    async def test_forgotten_counters_counted_nothing(self, store: Store) -> None:
        """Deletes counters that ended before a time; running counters stay."""
        daily = a_limit(1, "profile", name="2", repeat=Repeat(RepeatUnit.DAY))
        limits = (a_limit(9), daily, a_limit(5, repeat=Repeat(RepeatUnit.DAY), name="3"))
        await create_caps(store, caps_of(*limits))
        for day in range(3):
            assert await try_record(store, now=NOON + day * DAY)
        cutoff = NOON + 2 * DAY
        assert await store.purge_counters(cutoff) == 4
        assert await store.purge_counters(cutoff) == 0

        assert not await try_record(store, now=cutoff)
        assert await usage_of(store, *limits, who=[ANN], now=cutoff) == [3, 1, 1]
        assert await try_record(store, now=cutoff + DAY)

    @store_test
    async def test_a_limit_far_from_spent_may_be_left_out(self, store: Store) -> None:
        """A count near its limit is always returned."""
        await create_caps(store, caps_of(a_limit(10**6), PROFILE_LIMIT))
        assert await try_record(store)
        far, near = await usage_of(store, a_limit(10**6), PROFILE_LIMIT, who=[ANN])
        assert far in (0, 1)
        assert near == 1


def _members(event: DecisionEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


async def _by_edge(store: Store, container: str, events: Sequence[DecisionEvent]) -> list[DecisionEvent]:
    """Return the decisions found by the edge ids of their last scopes."""
    ids = [edge_proposition_id(item.id, len(item.answers) - 1) for item in events]
    decision_by_id = await store.decisions_of(container, ids)
    return [decision_by_id[item] for item in ids if item in decision_by_id]
