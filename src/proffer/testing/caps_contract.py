"""Contract tests of counters and decision events. Subclass `CapsContract` as in `store_contract.py`."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from proffer.errors import Conflict, NotFound
from proffer.model.capping import (
    CapEntity,
    CapLimit,
    CapScope,
    OfferCaps,
    Recorded,
    Refused,
    Repeat,
    RepeatUnit,
    ReservationState,
    Subjects,
)
from proffer.model.customer import Record
from proffer.model.events import (
    DecisionEvent,
    ScopeAnswer,
    Selection,
    decision_id,
    edge_proposition_id,
)
from proffer.model.identity import IdentityKey
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.store.errors import StaleRevision
from proffer.store.ports import Store
from proffer.testing.store_contract import NOON, SECOND, Contract, a_container, a_version, promise

DAY = 86_400 * SECOND
ANN, BOB, COOKIE = (
    IdentityKey(*pair) for pair in (("Email", "ann@x"), ("Email", "bob@x"), ("ECID", "c:1"))
)
IN_TOTAL = CapLimit(name="1", limit=3, scope=CapScope.GLOBAL)
EACH = CapLimit(name="2", limit=2, scope=CapScope.PROFILE)


def at(text: str) -> int:
    """Return a time in microseconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def a_limit(limit: int, scope: str = "global", name: str = "1", **more: Any) -> CapLimit:
    return CapLimit(name=name, limit=limit, scope=CapScope(scope), **more)


def caps_of(
    *limits: CapLimit, offer: str = "gold", approved: bool = True, **more: Any
) -> OfferCaps:
    return OfferCaps(offer=offer, limits=limits, approved=approved, **{"moment_us": NOON, **more})


def a_decision(
    *given: tuple[str, str],
    who: Sequence[IdentityKey] = (ANN,),
    now: int = NOON,
    surface: str = "ode",
    **more: Any,
) -> DecisionEvent:
    """Return a decision event with one scope per (offer, placement); by default `gold` in `web`."""
    given = given or (("gold", "web"),)
    return DecisionEvent(
        **{
            "id": decision_id(now),
            "container": "c1",
            "decided_us": now,
            "revision": 1,
            "surface": surface,
            "request": DecisionRequest(
                scopes=tuple(ScopeRequest("welcome", place) for _, place in given)
            ),
            "answers": tuple(
                ScopeAnswer(
                    decision="welcome",
                    decision_etag=4,
                    placement=place,
                    placement_etag=2,
                    selections=(Selection(offer=offer, etag=7, rank=1),),
                )
                for offer, place in given
            ),
            "identities": tuple(who),
            **more,
        }
    )


async def limited(store: Store, *caps: OfferCaps, revision: int = 1) -> None:
    await store.ensure_container(a_container())
    await store.ensure_caps("c1", revision, caps)


async def had(
    store: Store, *given: tuple[str, str], ttl_us: int | None = None, **more: Any
) -> bool:
    """Record such a decision; return whether it was accepted."""
    found = await store.record("c1", a_decision(*given, **more), ttl_us=ttl_us)
    return isinstance(found, Recorded)


async def used(
    store: Store,
    *limits: CapLimit,
    who: Sequence[IdentityKey] = (),
    now: int = NOON,
    placement: str = "",
) -> list[int]:
    """Return the counts of these limits of `gold`; check both ways of reading counters agree."""
    asked = [("gold", one) for one in limits]
    whom = await store.whom("c1", who)
    assert list(whom.customers) == list(await store.customers("c1", who))
    keys = tuple(one.key for one in whom.customers)
    found = await store.usage("c1", asked, Subjects(keys, tuple(who)), now)
    if whom.counted is not None:
        whose = Subjects(keys, tuple(who), counted=whom.counted)
        assert await store.usage("c1", asked, whose, now) == found
    return [found.counts.get(("gold", one.name, placement), 0) for one in limits]


async def known(store: Store, *identities: IdentityKey) -> None:
    """Write a record that links these identities to one customer."""
    record = Record(identities=identities, dataset="crm", stamped_us=NOON, attributes={"a": 1})
    await store.take_in("c1", [record], now_us=NOON)


class CapsContract(Contract):
    """Contract of `CapStore`."""

    @promise
    async def test_a_limit_is_reached_and_never_passed(self, store: Store) -> None:
        """A decision beyond the limit is refused and gets the current count."""
        await limited(store, caps_of(IN_TOTAL))

        assert [await had(store) for _ in range(4)] == [True, True, True, False]
        refused = await store.record("c1", a_decision())
        assert isinstance(refused, Refused)
        assert refused.counts == {("gold", "1", ""): 3}
        assert await used(store, IN_TOTAL) == [3]

    @promise
    async def test_many_at_once_share_what_there_is(self, store: Store) -> None:
        """Of eighty concurrent decisions the limits' number is accepted exactly."""
        await limited(store, caps_of(a_limit(30), a_limit(2, "profile", name="2")))
        people = [IdentityKey("Email", f"{number % 20}@x") for number in range(80)]
        found = await asyncio.gather(*(had(store, who=[one]) for one in people))

        assert sum(found) == 30
        for person in set(people):
            assert sum(ok for ok, one in zip(found, people, strict=True) if one == person) <= 2

    @promise
    async def test_each_profile_is_counted_for_itself(self, store: Store) -> None:
        """Profile limits count per customer; without identities only within one decision."""
        await limited(store, caps_of(EACH))

        assert [await had(store) for _ in range(3)] == [True, True, False]
        assert await had(store, who=[BOB])
        assert [await had(store, who=[]) for _ in range(3)] == [True, True, True]
        twice = [("gold", "web")] * 3
        assert not await had(store, *twice, who=[])
        assert await used(store, EACH, who=[ANN]) == [2]
        assert await used(store, EACH, who=[BOB]) == [1]

    @promise
    async def test_all_a_decision_gives_is_counted_or_nothing(self, store: Store) -> None:
        """One exhausted limit refuses the whole decision; its scopes add up."""
        await limited(store, caps_of(IN_TOTAL), caps_of(a_limit(1), offer="silver"))

        assert await had(store, ("silver", "web"), ("gold", "web"))
        assert not await had(store, ("gold", "web"), ("silver", "web"))
        assert await used(store, IN_TOTAL) == [1]
        assert not await had(store, *[("gold", "web")] * 3)
        assert await had(store, *[("gold", "web"), ("gold", "app")])
        assert not await had(store)

    @promise
    async def test_placements_are_counted_together_apart_or_by_name(self, store: Store) -> None:
        """A limit counts over all placements, per placement, or only named placements."""
        apart = a_limit(1, entity=CapEntity.PLACEMENT)
        named = a_limit(
            1, name="2", entity=CapEntity.PLACEMENT, placements=frozenset({"app", "tv"})
        )
        await limited(store, caps_of(apart), caps_of(named, offer="silver"))

        places = ["web", "web", "app", "app"]
        assert [await had(store, ("gold", one)) for one in places] == [True, False, True, False]
        assert await used(store, apart, placement="app") == [1]
        places = ["web", "web", "app", "app", "tv"]
        found = [await had(store, ("silver", one)) for one in places]
        assert found == [True, True, True, False, True]

    @promise
    async def test_what_is_not_counted_by_decisions_still_bars(self, store: Store) -> None:
        """A limit on clicks is not counted by decisions; offers without limits are not limited."""
        await limited(store, caps_of(a_limit(1, events=frozenset({"click"}))))

        assert [await had(store) for _ in range(3)] == [True] * 3
        assert await had(store, ("unknown", "web"))

    @promise
    async def test_counting_begins_anew_with_the_period(self, store: Store) -> None:
        """Counters restart with the period; a clock set back finds the earlier count."""
        daily = a_limit(1, repeat=Repeat(RepeatUnit.DAY, 2))
        await limited(store, caps_of(daily, moment_us=at("2026-01-01T12:00")))

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
            assert await had(store, now=at(moment)) is expected, moment

    @promise
    async def test_counters_end_with_their_offer(self, store: Store) -> None:
        """Counters end with the offer, at latest two years after its start."""
        start, end = at("2026-01-01T00:00"), at("2026-03-01T00:00")
        await limited(
            store,
            caps_of(a_limit(1, "profile"), start_us=start, end_us=end),
            caps_of(a_limit(1), offer="silver", start_us=start),
        )
        for offer in ("gold", "silver"):
            assert await had(store, (offer, "web"), now=at("2026-02-01T00:00"))
        assert not await had(store, now=end)
        assert await had(store, now=end + 1)
        assert not await had(store, ("silver", "web"), now=at("2027-12-31T23:00"))
        for moment in ("2028-01-01T00:00", "2031-01-01T00:00"):
            found = [await had(store, ("silver", "web"), now=at(moment)) for _ in range(2)]
            assert found == [True, False]

    @promise
    async def test_a_counter_that_began_anew_never_ends_again(self, store: Store) -> None:
        """With differing clocks, late counts are added to the restarted counter."""
        limits = (a_limit(2), a_limit(2, "profile", name="2"))
        start, ends = at("2024-02-29T00:00"), at("2026-03-01T00:00")
        await limited(store, caps_of(*limits, start_us=start))

        assert await had(store, now=ends + 5)
        assert await had(store, now=ends - 5)
        assert await used(store, *limits, who=[ANN], now=ends + 9) == [2, 2]
        assert not await had(store, now=ends + 9)

    @promise
    async def test_moved_dates_move_the_end_of_what_is_touched(self, store: Store) -> None:
        """A profile counter updated before the old end is extended; others end there."""
        january, february, march = (at(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limit = a_limit(2, "profile")
        await limited(store, caps_of(limit, start_us=january, end_us=february))
        for who in (ANN, BOB):
            assert await had(store, who=[who], now=january)
        await store.ensure_caps("c1", 2, [caps_of(limit, start_us=january, end_us=march)])
        assert await had(store, who=[ANN], now=february - SECOND)

        later = february + SECOND
        assert not await had(store, who=[ANN], now=later)
        assert [await had(store, who=[BOB], now=later) for _ in range(3)] == [True, True, False]

    @promise
    async def test_an_end_that_is_set_holds(self, store: Store) -> None:
        """If an offer gets an end date, counters updated since end then."""
        january, february, march = (at(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limits = (a_limit(1), a_limit(2, "profile", name="2"))
        await limited(store, caps_of(*limits[1:], start_us=january))
        assert await had(store, now=january)
        await store.ensure_caps("c1", 2, [caps_of(*limits, start_us=january, end_us=february)])
        assert await had(store, now=january + DAY)

        assert await used(store, limits[1], who=[ANN], now=february) == [2]
        assert await used(store, limits[1], who=[ANN], now=march) == [0]

    @promise
    async def test_a_later_start_does_not_carry_on(self, store: Store) -> None:
        """Counters restart only if the offer restarts after its old end."""
        january, february, march = (at(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        limits = (a_limit(1), a_limit(1, "profile", name="2"))
        await limited(store, caps_of(*limits, start_us=january, end_us=february))
        assert await had(store, now=january + DAY)
        within = caps_of(*limits, start_us=january + 2 * DAY, end_us=february)
        await store.ensure_caps("c1", 2, [within])
        assert not await had(store, now=january + 3 * DAY)
        after = caps_of(*limits, start_us=february + DAY, end_us=march)
        await store.ensure_caps("c1", 3, [after])
        assert await had(store, now=february + 2 * DAY)

    @promise
    async def test_an_extended_offer_keeps_its_counts_in_total(self, store: Store) -> None:
        """An exhausted total counter continues although no decision updates it."""
        january, february, march = (at(f"2026-0{month}-01T00:00") for month in (1, 2, 3))
        await limited(store, caps_of(a_limit(1), start_us=january, end_us=february))
        assert await had(store, now=january)
        extended = caps_of(a_limit(1), start_us=january, end_us=march)
        await store.ensure_caps("c1", 2, [extended])
        assert not await had(store, now=february + DAY)

    @promise
    async def test_a_changed_limit_holds_at_once(self, store: Store) -> None:
        """Counts survive changes and removal of a limit; a limit of another kind starts at 0."""
        await limited(store, caps_of(a_limit(3)))
        assert [await had(store) for _ in range(2)] == [True, True]
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
            assert await had(store) is expected, limits

    @promise
    async def test_limits_come_into_force_with_their_versions(self, store: Store) -> None:
        """Limits change with a commit; a refused commit or older revision changes nothing."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)], [caps_of(a_limit(1))])
        with pytest.raises(StaleRevision):
            await store.commit("c1", 0, [a_version(1)], [caps_of()])
        await store.ensure_caps("c1", 1, [])
        assert [await had(store) for _ in range(2)] == [True, False]
        await store.commit("c1", 1, [a_version(2, etag=2)])
        await store.ensure_caps("c1", 2, [])
        assert await had(store)

    @promise
    async def test_limits_of_a_library_that_moved_on_are_refused(self, store: Store) -> None:
        """Limits read before a concurrent write do not overwrite its limits."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])
        await store.commit("c1", 1, [a_version(2, etag=2)], [caps_of(a_limit(1))])
        with pytest.raises(StaleRevision):
            await store.ensure_caps("c1", 1, [caps_of(a_limit(9))])
        assert [await had(store) for _ in range(2)] == [True, False]
        await store.ensure_caps("c1", 2, [caps_of(a_limit(2))])
        assert [await had(store) for _ in range(2)] == [True, False]

    @promise
    async def test_identities_of_one_customer_count_together(self, store: Store) -> None:
        """Counts of all reached customers are summed; the oldest customer is counted."""
        await limited(store, caps_of(a_limit(4, "profile", name="2")))
        await known(store, ANN)
        await known(store, BOB)
        for who in ([ANN], [BOB], [ANN, BOB]):
            assert await had(store, who=who)

        limit = a_limit(4, "profile", name="2")
        assert await used(store, limit, who=[ANN]) == [2]
        assert await used(store, limit, who=[BOB]) == [1]
        assert await used(store, limit, who=[ANN, BOB]) == [3]
        assert [await had(store, who=[BOB, ANN]) for _ in range(2)] == [True, False]

    @promise
    async def test_the_primary_identity_is_counted_until_somebody_claims_it(
        self, store: Store
    ) -> None:
        """Counts of an identity go to the customer once it is linked."""
        await limited(store, caps_of(a_limit(3, "profile", name="2")))
        assert await had(store, who=[COOKIE, BOB])
        assert await used(store, EACH, who=[COOKIE]) == [1]
        assert await used(store, EACH, who=[BOB]) == [0]
        await known(store, ANN)
        assert await had(store, who=[ANN])
        await known(store, ANN, COOKIE)

        assert await used(store, EACH, who=[ANN]) == [2]
        assert await used(store, EACH, who=[COOKIE]) == [2]
        assert [await had(store, who=[COOKIE]) for _ in range(2)] == [True, False]

    @promise
    async def test_merged_profiles_add_up(self, store: Store) -> None:
        """Merging customers merges their counters."""
        await limited(store, caps_of(a_limit(3, "profile", name="2")))
        for who in (ANN, BOB):
            await known(store, who)
            assert await had(store, who=[who])
        await known(store, ANN, BOB)

        assert await used(store, EACH, who=[BOB]) == [2]
        assert [await had(store, who=[ANN]) for _ in range(2)] == [True, False]

    @promise
    async def test_what_is_over_adds_nothing(self, store: Store) -> None:
        """When customers merge, an ended counter adds nothing to a running one."""
        end, later = NOON + DAY, NOON + 3 * DAY
        limit = a_limit(3, "profile")
        await limited(store, caps_of(limit, end_us=end))
        for who in (ANN, BOB):
            await known(store, who)
            assert await had(store, who=[who])
        await store.ensure_caps("c1", 2, [caps_of(limit, end_us=later)])
        assert await had(store, who=[BOB])
        record = Record(identities=(ANN, BOB), dataset="crm", stamped_us=NOON, attributes={})
        await store.take_in("c1", [record], now_us=end + SECOND)

        assert await used(store, limit, who=[ANN], now=end + SECOND) == [2]

    @promise
    async def test_an_import_claims_identities_too(self, store: Store) -> None:
        """Bulk-imported records of unknown customers claim the counts of their identities."""
        await limited(store, caps_of(EACH))
        assert await had(store, who=[ANN])
        await store.bring_in("c1", [(((ANN.namespace, ANN.id),), "crm", NOON, b"{}")], now_us=NOON)
        assert await used(store, EACH, who=[ANN]) == [1]
        assert [await had(store) for _ in range(2)] == [True, False]

    @promise
    async def test_erasure_forgets_what_was_counted(self, store: Store) -> None:
        """Erasure deletes counters of customers and unlinked identities, not total counters."""
        await limited(store, caps_of(IN_TOTAL, EACH))
        await known(store, ANN)
        for who in (ANN, BOB):
            assert await had(store, who=[who])
        gone = [await store.erase("c1", who) for who in (ANN, BOB, COOKIE)]

        assert [one.counters if one else None for one in gone] == [1, 1, None]
        assert await used(store, EACH, who=[ANN, BOB]) == [0]
        assert await used(store, IN_TOTAL) == [2]

    @promise
    async def test_a_reservation_counts_until_it_is_given_back(self, store: Store) -> None:
        """Confirming keeps the count; release and expiry give it back."""
        await limited(store, caps_of(a_limit(1)))
        for settle, expected in (("release", True), ("expire", True), ("confirm", False)):
            event = a_decision()
            held = await store.record("c1", event, ttl_us=10 * SECOND)
            assert held == Recorded(reserved_until_us=NOON + 10 * SECOND)
            assert not await had(store)
            if settle == "expire":
                await store.catch_up(NOON + 9 * SECOND)
                assert await used(store, IN_TOTAL) == [1]
                await store.catch_up(NOON + 10 * SECOND)
                assert await used(store, IN_TOTAL) == [0]
            else:
                for _ in range(2):
                    settled = await getattr(store, settle)("c1", event.id, NOON + 1)
                    assert settled.state == ReservationState(settle.rstrip("e") + "ed")
            assert await had(store, ttl_us=1) is expected
            await store.catch_up(NOON + 2)

    @promise
    async def test_an_expired_reservation_is_no_obstacle(self, store: Store) -> None:
        """An expired reservation does not block decisions, even before cleanup."""
        await limited(store, caps_of(a_limit(1), a_limit(1, "profile", name="2")))
        assert await had(store, ttl_us=5)
        assert not await had(store, now=NOON + 4)
        assert await had(store, now=NOON + 5)
        assert await used(store, IN_TOTAL, EACH, who=[ANN]) == [1, 1]

    @promise
    async def test_a_reservation_ends_with_what_it_counts(self, store: Store) -> None:
        """A reservation expires with its counter period; later counts are unaffected."""
        end = NOON + 10 * SECOND
        await limited(store, caps_of(a_limit(1, "profile"), end_us=end - 1))
        event = a_decision()
        held = await store.record("c1", event, ttl_us=DAY)
        assert held == Recorded(reserved_until_us=end)
        assert await had(store, now=end)
        assert (await store.release("c1", event.id, end)).state == "expired"
        assert not await had(store, now=end)

    @promise
    async def test_many_reservations_expire_together(self, store: Store) -> None:
        """Reservations of many customers that expire at once are returned to each."""
        await limited(store, caps_of(a_limit(300), EACH))
        everybody = [IdentityKey("Email", f"{number}@x") for number in range(150)]
        every = [a_decision(who=[one]) for one in everybody for _ in range(2)]
        await asyncio.gather(*(store.record("c1", one, ttl_us=5) for one in every))
        await store.confirm("c1", every[0].id, NOON)
        assert not await had(store, who=[BOB])
        await store.catch_up(NOON + 5)

        assert await used(store, a_limit(300), EACH, who=everybody[:1]) in ([1, 1], [0, 1])
        assert await used(store, EACH, who=everybody[1:]) == [0]
        people = [had(store, who=[one], now=NOON + 5) for one in everybody for _ in range(2)]
        assert sum(await asyncio.gather(*people)) == 299

    @promise
    async def test_a_settled_reservation_stays_so(self, store: Store) -> None:
        """A settled reservation cannot change; an unknown one is not found."""
        await limited(store, caps_of(a_limit(5)))
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
        assert await used(store, IN_TOTAL) == [2]

    @promise
    async def test_a_release_finds_whom_it_was_counted_for(self, store: Store) -> None:
        """A release after linking and merging decrements the counter that was incremented."""
        await limited(store, caps_of(EACH))
        event = a_decision(who=[COOKIE])
        await store.record("c1", event, ttl_us=DAY)
        await known(store, BOB, COOKIE)
        await known(store, ANN)
        assert await had(store, who=[ANN])
        await known(store, ANN, BOB)
        assert await used(store, EACH, who=[ANN]) == [2]
        await store.release("c1", event.id, NOON)

        assert await used(store, EACH, who=[ANN]) == [1]

    @promise
    async def test_a_decision_comes_back_as_it_was(self, store: Store) -> None:
        """All fields and the counted subject are returned; by id in any case, in its container."""
        await limited(store, caps_of(EACH))
        await known(store, ANN)
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
                        Selection(
                            offer="gold", etag=7, rank=1, score=0.1, formula="f", component=2
                        ),
                        Selection(offer="silver", etag=1, rank=2),
                    ),
                    fallback=None,
                ),
                None,
            ),
            request_id="request 1",
            found=True,
            attributes={"person": {"age": 40, "name": "Zoë 🎁"}},
            events=({"_id": "e", "n": 2**60},),
            usage={("gold", "2", ""): 1},
        )
        await store.record("c1", event)
        (customer,) = await store.customers("c1", [ANN])

        found = await store.decision_event("c1", event.id.upper())
        assert found is not None
        assert found.subject == customer.key
        assert a_decision(**{**_members(found), "subject": None}) == event
        assert await store.decision_event("c2", event.id) is None
        assert await store.decision_event("c1", decision_id(NOON)) is None
        assert await store.decision_event("c1", "no id") is None

    @promise
    async def test_a_refused_decision_leaves_no_trace(self, store: Store) -> None:
        """A refused decision is not stored."""
        await limited(store, caps_of(a_limit(1)))
        first, second = a_decision(), a_decision()
        await store.record("c1", first)
        await store.record("c1", second)

        assert await store.decision_event("c1", first.id) == first
        assert await store.decision_event("c1", second.id) is None

    @promise
    async def test_the_edge_finds_a_decision_by_its_scopes(self, store: Store) -> None:
        """An edge decision is found by the proposition id of each scope."""
        await limited(store)
        event = a_decision(("gold", "web"), ("gold", "app"), surface="edge")
        hub = a_decision()
        for one in (event, hub):
            await store.record("c1", one)

        for index, expected in ((0, event), (1, event), (2, None)):
            proposition = edge_proposition_id(event.id, index)
            assert await store.decision_event("c1", proposition) == expected
        assert await store.decision_event("c1", edge_proposition_id(hub.id, 0)) is None

    @promise
    async def test_ids_of_the_edge_are_found_whenever_they_are_asked_for(
        self, store: Store
    ) -> None:
        """Edge ids are found at once and later, per container."""
        await limited(store)
        await store.ensure_container(a_container("c2", sandbox="other"))
        given: list[DecisionEvent] = []
        for number in range(30):
            more = [
                a_decision(
                    ("free", "web"), ("free", "app"), now=NOON + number * 90_000_000, surface="edge"
                )
                for _ in range(number % 3)
            ]
            for event in more:
                await store.record("c1", event)
            await store.record("c2", a_decision(surface="edge"))
            given += more
            if number % 7 == 3:
                assert await _by_edge(store, "c1", given[-1:]) == given[-1:]
            if number == 20:
                assert await store.decision_event("c1", edge_proposition_id("nobody's", 0)) is None
        await store.index_edge_ids()

        assert await _by_edge(store, "c1", given) == given
        assert await _by_edge(store, "c2", given) == []
        assert await store.forget_decisions(NOON + 10 * 90_000_000) > 0
        await store.forget_counters(NOON)
        left = [one for one in given if one.decided_us >= NOON + 10 * 90_000_000]
        assert await _by_edge(store, "c1", given) == left

    @promise
    async def test_decisions_are_read_on_from_where_one_was(self, store: Store) -> None:
        """Each decision is read once, in packs with rising numbers."""
        await limited(store)
        seen: list[str] = []
        written: list[str] = []
        after = 0
        for _ in range(3):
            events = [a_decision(now=NOON + number) for number in range(7)]
            written += [one.id for one in events]
            await asyncio.gather(*(store.record("c1", one) for one in events))
            while packs := await store.decision_events("c1", after, 2):
                assert [number for number, _ in packs] == sorted(number for number, _ in packs)
                assert packs[0][0] > after
                after = packs[-1][0]
                seen += [one.id for _, events_ in packs for one in events_]

        assert sorted(seen) == sorted(written)
        assert list(await store.decision_events("c9", 0, 10)) == []

    @promise
    async def test_old_decisions_are_forgotten(self, store: Store) -> None:
        """Deletes decisions before a time, then the oldest over a size; numbers keep rising."""
        await limited(store, caps_of(IN_TOTAL))
        events = [a_decision(now=NOON + day * DAY) for day in range(3)]
        for one in events:
            await store.record("c1", one)

        assert await store.forget_decisions(NOON + DAY) == 1
        assert await store.decision_event("c1", events[0].id) is None
        assert await store.decision_event("c1", events[1].id) == events[1]
        (*_, (newest, _)) = await store.decision_events("c1", 0, 10)
        assert await store.forget_decisions(0, most_bytes=1) == 1
        await store.record("c1", a_decision(("other", "web"), now=NOON + 3 * DAY))
        (*_, (number, _)) = await store.decision_events("c1", 0, 10)
        assert number > newest
        assert await used(store, IN_TOTAL) == [3]

    @promise
    async def test_forgotten_counters_counted_nothing(self, store: Store) -> None:
        """Deletes counters that ended before a time; running counters stay."""
        daily = a_limit(1, "profile", name="2", repeat=Repeat(RepeatUnit.DAY))
        limits = (a_limit(9), daily, a_limit(5, repeat=Repeat(RepeatUnit.DAY), name="3"))
        await limited(store, caps_of(*limits))
        for day in range(3):
            assert await had(store, now=NOON + day * DAY)
        kept = NOON + 2 * DAY
        assert await store.forget_counters(kept) == 4
        assert await store.forget_counters(kept) == 0

        assert not await had(store, now=kept)
        assert await used(store, *limits, who=[ANN], now=kept) == [3, 1, 1]
        assert await had(store, now=kept + DAY)

    @promise
    async def test_a_limit_far_from_spent_may_be_left_out(self, store: Store) -> None:
        """A count near its limit is always returned."""
        await limited(store, caps_of(a_limit(10**6), EACH))
        assert await had(store)
        far, near = await used(store, a_limit(10**6), EACH, who=[ANN])
        assert far in (0, 1)
        assert near == 1


def _members(event: DecisionEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


async def _by_edge(
    store: Store, container: str, events: Sequence[DecisionEvent]
) -> list[DecisionEvent]:
    """Return the decisions found by the edge ids of their last scopes."""
    ids = [edge_proposition_id(one.id, len(one.answers) - 1) for one in events]
    found = await store.decisions_of(container, ids)
    return [found[one] for one in ids if one in found]
