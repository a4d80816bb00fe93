"""caps-mean: stores count what a naive list of everything that was ever given says, whatever happens in between."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proffer.errors import Conflict, NotFound
from proffer.model.capping import (
    CapEntity,
    CapLimit,
    CapRefusal,
    CapScope,
    OfferLimits,
    Repeat,
    RepeatUnit,
)
from proffer.model.customer import ProfileRecord
from proffer.model.identity import IdentityKey
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from proffer.testing.caps_contract import a_decision, caps_of
from proffer.testing.store_contract import NOON, SECOND, a_container
from support.postgres import PooledStore

HOUR = 3600 * SECOND
DAY = 24 * HOUR
OFFERS, PLACES = ("gold", "silver"), ("web", "app")
WHO = tuple(
    IdentityKey(*pair)
    for pair in (("Email", "a"), ("Email", "b"), ("CRMID", "c"), ("Phone", "d"), ("ECID", "e"), ("IDFA", "f"))
)
DEVICES = {"ECID", "IDFA"}
MOMENTS = [NOON + shift for shift in (0, HOUR, 13 * HOUR, DAY, 3 * DAY, 8 * DAY, 40 * DAY)]

limits = st.builds(
    CapLimit,
    name=st.sampled_from(["1", "2"]),
    limit=st.integers(1, 3),
    scope=st.sampled_from(CapScope),
    entity=st.sampled_from(CapEntity),
    placements=st.sampled_from([frozenset(), frozenset({"app"})]),
    events=st.sampled_from([frozenset({"decisioning"}), frozenset({"decisioning", "click"})]),
    repeat=st.none() | st.builds(Repeat, st.sampled_from(RepeatUnit), st.integers(1, 2)),
)
some_limits = st.lists(limits, max_size=2, unique_by=lambda one: one.name)
people = st.lists(st.sampled_from(WHO), max_size=3, unique=True)
gives = st.lists(st.tuples(st.sampled_from(OFFERS), st.sampled_from(PLACES)), min_size=1, max_size=3)
moments = st.sampled_from(MOMENTS)
steps = st.one_of(
    st.tuples(st.just("decide"), gives, people, moments, st.none() | st.integers(1, 2 * 10**11)),
    st.tuples(st.just("decide"), gives, people, moments, st.none()),
    st.tuples(st.sampled_from(["confirm", "release"]), st.integers(0, 9), moments),
    st.tuples(st.just("catch up"), moments),
    st.tuples(st.just("link"), st.lists(st.sampled_from(WHO), min_size=1, max_size=2, unique=True)),
    st.tuples(st.just("limit"), st.sampled_from(OFFERS), some_limits, moments),
    st.tuples(st.just("erase"), st.sampled_from(WHO)),
)


@dataclass
class Fact:
    """One thing that one limit has counted: of whom, in which period, by which decision."""

    limit: int
    in_total: bool
    offer: str
    place: str
    period: int
    whose: object
    decision: str


@dataclass
class Naive:
    """Keeps everything, and looks through all of it each time."""

    facts: list[Fact] = field(default_factory=list)
    limits: dict[str, list[CapLimit]] = field(default_factory=dict)
    first_in_force: dict[int, int] = field(default_factory=dict)
    counters: dict[tuple[str, str], int] = field(default_factory=dict)
    had: dict[str, list[tuple[int, CapLimit]]] = field(default_factory=dict)
    newest_counter: int = 0
    owners: dict[IdentityKey, int] = field(default_factory=dict)
    joined: dict[IdentityKey, int] = field(default_factory=dict)
    newest: int = 0
    held: dict[str, tuple[str, int]] = field(default_factory=dict)

    def limit(self, offer: str, found: list[CapLimit], now: int) -> None:
        has = [(self.counters.pop((offer, one.name)), one) for one in self.limits.get(offer, [])]
        left = [(True, *one) for one in sorted(has, key=by_age)]
        left += [(False, *one) for one in sorted(self.had.get(offer, []), key=by_age, reverse=True)]
        for likeness in ("name", "limit", "identity"):
            for one in found:
                fits = [
                    (has_it, counter, other)
                    for has_it, counter, other in left
                    if one.identity == other.identity
                    and (likeness == "identity" or (has_it and getattr(one, likeness) == getattr(other, likeness)))
                ]
                if fits and (offer, one.name) not in self.counters:
                    left.remove(fits[0])
                    self.counters[offer, one.name] = fits[0][1]
        for one in found:
            if (offer, one.name) not in self.counters:
                self.newest_counter += 1
                self.counters[offer, one.name] = self.newest_counter
            self.first_in_force.setdefault(self.counters[offer, one.name], now)
        self.limits[offer] = found
        self.had[offer] = [(counter, other) for _, counter, other in left]

    def link(self, identities: Sequence[IdentityKey]) -> None:
        keys = sorted({self.owners[one] for one in identities if one in self.owners})
        if not keys:
            self.newest += 1
            keys = [self.newest]
        for identity, key in self.owners.items():
            if key in keys:
                self.owners[identity] = keys[0]
        customers = set(self.owners.values())
        self.owners |= dict.fromkeys(identities, keys[0])
        counted_for = {self.joined.pop(one) for one in identities if one in self.joined}
        strangers = counted_for - customers
        self.move([*keys[1:], *strangers, *identities], keys[0])

    def move(self, sources: Sequence[object], target: int) -> None:
        """Count for another owner what was counted for these, and what is counted for them from now on."""
        for fact in self.facts:
            if fact.whose in sources:
                fact.whose = target
        self.joined = {one: target if key in sources else key for one, key in self.joined.items()}

    def reach(self, identities: Sequence[IdentityKey]) -> list[object]:
        """Return whose counts are summed; the first gets the next, and those of owners without a customer."""
        persons = [one for one in identities if one.namespace not in DEVICES]
        takes_part = persons or identities
        customers = {self.owners[one] for one in takes_part if one in self.owners}
        counted_for = {self.joined[one] for one in takes_part if one in self.joined}
        known = customers | (counted_for & set(self.owners.values()))
        in_order = [*sorted(known), *sorted(counted_for - known)]
        reach: list[object] = [*in_order[:1], *(key for key in in_order[1:] if key in known)]
        together = self.ids_of(in_order[:1])
        for key in in_order[1:]:
            if key not in known and is_one_person(together, self.ids_of([key])):
                reach.append(key)
                together |= self.ids_of([key])
        for one in takes_part:
            if one not in self.owners and one not in self.joined and is_one_person(together, {one}):
                reach.append(one)
                together.add(one)
        return reach

    def ids_of(self, keys: Sequence[int]) -> set[IdentityKey]:
        return {one for owned in (self.owners, self.joined) for one, key in owned.items() if key in keys}

    def join(self, reach: list[object]) -> object:
        """Make one owner of all of them but of known customers; return whose counts the next one is."""
        if len(reach) == 1 and isinstance(reach[0], IdentityKey):
            return reach[0]
        if reach and isinstance(reach[0], IdentityKey):
            self.newest += 1
            reach = [self.newest, *reach]
        if not reach:
            return None
        first = reach[0]
        assert isinstance(first, int)
        sources = [one for one in reach[1:] if one not in self.owners.values()]
        self.move(sources, first)
        self.joined |= {one: first for one in sources if isinstance(one, IdentityKey)}
        return first

    def period(self, offer: str, limit: CapLimit, now: int) -> int:
        if limit.repeat is None:
            return 0
        anchor = self.first_in_force[self.counters[offer, limit.name]]
        return (self.unit(limit.repeat, now) - self.unit(limit.repeat, anchor)) // limit.repeat.count

    @staticmethod
    def unit(repeat: Repeat, moment: int) -> int:
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)
        if repeat.unit is RepeatUnit.MONTH:
            return date.year * 12 + date.month
        if repeat.unit is RepeatUnit.WEEK:  # days since some Sunday
            return (date.date() - datetime(2000, 1, 2, tzinfo=UTC).date()).days // 7
        return date.date().toordinal()

    def used(self, offer: str, limit: CapLimit, place: str, reach: list[object], now: int) -> int:
        apart = limit.entity is CapEntity.PLACEMENT
        return sum(
            fact.limit == self.counters[offer, limit.name]
            and fact.offer == offer
            and (not apart or fact.place == place)
            and fact.period == self.period(offer, limit, now)
            and (limit.scope is CapScope.GLOBAL or fact.whose in reach)
            for fact in self.facts
        )

    def decide(
        self,
        decision: str,
        given_: Sequence[tuple[str, str]],
        who: Sequence[IdentityKey],
        now: int,
        ttl: int | None,
    ) -> bool:
        self.expire(now)
        reach = self.reach(who)
        for offer, place in given_:
            for limit in self.limits.get(offer, []):
                if limit.placements and place not in limit.placements:
                    continue
                mine = [
                    (one, where)
                    for one, where in given_
                    if one == offer
                    and (not limit.placements or where in limit.placements)
                    and (limit.entity is CapEntity.OFFER or where == place)
                ]
                if self.used(offer, limit, place, reach, now) + len(mine) > limit.limit:
                    return False
        per_profile = any(one.scope is CapScope.PROFILE for found in self.limits.values() for one in found)
        whose = self.join(reach) if ttl is not None or per_profile else None
        for offer, place in given_:
            for limit in self.limits.get(offer, []):
                if not limit.placements or place in limit.placements:
                    period = self.period(offer, limit, now)
                    counter, in_total = self.counters[offer, limit.name], limit.scope is CapScope.GLOBAL
                    if in_total or whose is not None:
                        self.facts.append(Fact(counter, in_total, offer, place, period, whose, decision))
        if ttl is not None:
            self.held[decision] = ("held", now + ttl)
        return True

    def expire(self, now: int) -> None:
        for decision, (state, expires) in list(self.held.items()):
            if state == "held" and expires <= now:
                self.give_back(decision, "expired")

    def give_back(self, decision: str, state: str) -> None:
        self.held[decision] = (state, self.held[decision][1])
        self.facts = [fact for fact in self.facts if fact.decision != decision]

    def settle(self, decision: str, wanted: str, now: int) -> str:
        if decision not in self.held:
            return "nothing"
        state, expires = self.held[decision]
        if state == "held" and expires <= now:
            self.give_back(decision, state := "expired")
        if state == "held":
            state = wanted
            if wanted == "released":
                self.give_back(decision, state)
            self.held[decision] = (state, expires)
        fits = {wanted, "expired"} if wanted == "released" else {wanted}
        return state if state in fits else "conflict"

    def erase(self, identity: IdentityKey) -> None:
        key = self.owners.get(identity)
        counted_for = self.joined.pop(identity, None)
        if key is None and counted_for in self.owners.values():
            return
        if key is None:
            key = counted_for
        gone = [identity] if key is None else [key]
        self.owners = {one: owner for one, owner in self.owners.items() if owner != key}
        self.joined = {one: owner for one, owner in self.joined.items() if owner != key}
        kept = []
        for fact in self.facts:
            if fact.whose not in gone:
                kept.append(fact)
            elif fact.in_total:
                fact.whose = None
                kept.append(fact)
        self.facts = kept


def is_one_person(together: set[IdentityKey], added: set[IdentityKey]) -> bool:
    """Return whether what is added is no other id of a namespace of persons."""
    return not any(
        one.namespace == other.namespace and one != other and one.namespace not in DEVICES
        for one in added
        for other in together
    )


def by_age(one: tuple[int, CapLimit]) -> int:
    return one[0]


async def compare(store: Store, program: Sequence[Any]) -> None:
    await store.ensure_container(a_container())
    naive, decisions, revision = Naive(), [], 0
    for step in program:
        kind, *rest = step
        if kind == "decide":
            given_, who, now, ttl = rest
            event = a_decision(*given_, who=who, now=now)
            decisions.append(event.id)
            found = await store.record("c1", event, ttl_us=ttl)
            had = naive.decide(event.id, given_, who, now, ttl)
            assert isinstance(found, CapRefusal) is not had, step
            if isinstance(found, CapRefusal):
                for (offer, name, place), count in found.counts.items():
                    (limit,) = (one for one in naive.limits[offer] if one.name == name)
                    assert count == naive.used(offer, limit, place, naive.reach(who), now)
            await check_usage(store, naive, who, now)
        elif kind in {"confirm", "release"} and decisions:
            number, now = rest
            decision = decisions[number % len(decisions)]
            wanted = f"{kind.removesuffix('e')}ed"
            try:
                told = str((await getattr(store, kind)("c1", decision, now)).state)
            except NotFound:
                told = "nothing"
            except Conflict:
                told = "conflict"
            assert told == naive.settle(decision, wanted, now), step
        elif kind == "catch up":
            await store.catch_up(rest[0])
            naive.expire(rest[0])
        elif kind == "link":
            record = ProfileRecord(identities=tuple(rest[0]), dataset="crm", stamped_us=NOON)
            await store.apply_changes("c1", [record], now_us=NOON)
            naive.link(rest[0])
        elif kind == "limit":
            offer, found_limits, now = rest
            revision += 1
            naive.limit(offer, found_limits, now)
            await store.ensure_caps(
                "c1",
                revision,
                [caps_of(*naive.limits.get(one, []), offer=one, moment_us=now) for one in OFFERS],
            )
        elif kind == "erase":
            await store.erase("c1", rest[0])
            naive.erase(rest[0])


async def check_usage(store: Store, naive: Naive, who: Sequence[IdentityKey], now: int) -> None:
    await store.catch_up(now)  # what is read may lag behind until then
    caps = [(offer, one) for offer, found in naive.limits.items() for one in found]
    subjects = (await store.lookup_for_decision("c1", who)).subjects
    usage = (await store.usage("c1", OfferLimits(caps), subjects, now)).counts
    reach = naive.reach(who)
    for offer, limit in caps:
        for place in PLACES:
            key = limit.counter_key(offer, place)
            expected = naive.used(offer, limit, place, reach, now)
            assert usage.get(key, 0) == expected, (key, limit)


async def in_memory(_: Path) -> Store:
    return MemoryStore()


async def in_a_file(folder: Path) -> Store:
    return await SqliteStore.open(folder / "proffer.db", synchronous="OFF")


async def on_a_server(_: Path) -> Store:
    return await PooledStore.create()


Opening = Callable[[Path], Coroutine[Any, Any, Store]]


@pytest.mark.parametrize("opening", [in_memory, in_a_file, on_a_server], ids=["memory", "SQLite", "PostgreSQL"])
@given(st.tuples(some_limits, some_limits), st.lists(steps, max_size=30))
@settings(max_examples=120, deadline=None)
async def test_counters_say_what_was_given(
    opening: Opening, first: tuple[list[CapLimit], list[CapLimit]], program: list[Any]
) -> None:
    """Of any decisions, reservations, merges, erasures, changed limits and jumping clocks."""
    with TemporaryDirectory() as folder:
        store = await opening(Path(folder))
        try:
            begin = [("limit", *both, NOON) for both in zip(OFFERS, first, strict=True)]
            await compare(store, [*begin, *program])
        finally:
            await store.close()
