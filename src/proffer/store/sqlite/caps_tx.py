"""Limits, counters and stored decisions inside a SQLite transaction.

A group of decisions costs the same few statements, whatever its size.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from proffer.errors import NotFound
from proffer.model.capping import (
    OfferCaps,
    Reservation,
    ReservationState,
    lifetime_end,
)
from proffer.model.events import DecisionEvent, decision_time_ms
from proffer.model.instance import Instance
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import LimitRow, Limits, TotalRow
from proffer.store.common.caps import (
    TOTAL,
    Count,
    KeptLimit,
    KeptRow,
    Need,
    Slot,
    Subject,
    carried,
    check_not_moved,
    needs_of,
    public,
    put_in_force,
    subjects_of,
)
from proffer.store.common.event_codec import SPAN_MS, OpenPack, in_packs, unpack
from proffer.store.common.reservations import (
    HOUR_MS,
    MOST_EXPIRED,
    Answer,
    Item,
    decode_given,
    judge_group,
)
from proffer.store.common.reservations import encode_json as text
from proffer.store.sql import cap_statements as sql
from proffer.store.sql import statements
from proffer.store.sqlite import catalog_tx as work
from proffer.store.sqlite.catalog_tx import every, first
from proffer.store.sqlite.counters import counters_at, holders, many, next_move, put_counters
from proffer.store.sqlite.customers_tx import space_of


class RecordBatch:
    """Batch handler: processes decisions in order, writes counters and events together."""

    def __init__(self) -> None:
        self._limits = Limits()
        self._spaces: dict[str, int] = {}

    def undone(self) -> None:
        self._limits = Limits()
        self._spaces = {}

    def __call__(self, connection: sqlite3.Connection, items: Sequence[Item]) -> list[Answer]:
        now_us = max(item.claim.now_us for item in items)
        changed, moved, expired = first(connection, sql.STATE, now_us) or (0, 0, 0)
        if expired:
            give_back_expired(connection, now_us=now_us)
            _, moved, _ = first(connection, sql.STATE, now_us) or (0, 0, 0)
        if (changed or 0) > self._limits.newest:
            self._limits.learn(limits_since(connection, changed=self._limits.newest))
        moved = (moved or 0) + 1
        subjects, needs = self._met(connection, items)
        counters = counters_at(
            connection, (slot for of in needs for need in of for slot in need.slots)
        )
        found = judge_group(items, subjects, needs, counters, moved)
        revisions = {name: _revision(connection, name) for name in found.refusing}
        put_counters(connection, found.counters, moved)
        many(connection, sql.ADD_RESERVATIONS, found.reserved)
        _put_events(connection, found.kept)
        return found.answers(revisions)

    def _met(
        self, connection: sqlite3.Connection, items: Sequence[Item]
    ) -> tuple[list[Sequence[Subject]], list[Sequence[Need]]]:
        """Return the subjects of each item, where they matter, and its needs."""
        met = [self._limits_met(item) for item in items]
        subjects: list[Sequence[Subject]] = [()] * len(items)
        needs: list[Sequence[Need]] = [()] * len(items)
        places = [
            place for place, item in enumerate(items) if met[place] or item.ttl_us is not None
        ]
        # Subjects matter for per-profile limits and for reservations.
        personal = {
            place: self._space(connection, items[place].container)
            for place in places
            if items[place].ttl_us is not None or not all(kept.is_global for kept in met[place])
        }
        asked = {
            (space, *identity): None
            for place, space in personal.items()
            for identity in items[place].claim.identities
        }
        held = holders(connection, asked)
        for place in places:
            item = items[place]
            if place in personal:
                space = personal[place]
                subjects[place] = subjects_of(item.claim.identities, held.get(space, {}), space)
            needs[place] = needs_of(item.claim, self._limits.of(item.container), subjects[place])
        return subjects, needs

    def _limits_met(self, item: Item) -> list[KeptLimit]:
        """Return the limits in force of the item's offers."""
        limits = self._limits.of(item.container)
        return [kept for offer, _ in item.claim.given for kept in limits.get(offer, ())]

    def _space(self, connection: sqlite3.Connection, container: str) -> int:
        space = self._spaces.get(container)
        if space is None:
            space = self._spaces[container] = space_of(connection, container)
        return space


def _revision(connection: sqlite3.Connection, container: str) -> int:
    found = first(connection, statements.REVISION_OF, container)
    return int(found[0]) if found else 0


def _put_events(
    connection: sqlite3.Connection, kept: Sequence[tuple[Item, Subject | None]]
) -> None:
    """Insert the events as packs, by container."""
    listed = (
        (item.container, item.decision, item.event, public(subject)) for item, subject in kept
    )
    for packed in in_packs(listed):
        connection.execute(sql.ADD_PACK, packed)


def limits_since(connection: sqlite3.Connection, *, changed: int) -> list[LimitRow]:
    found = every(connection, statement=sql.LIMITS_SINCE, values=(changed,))
    return [LimitRow(row[0], row[1], KeptRow(*row[2:9]), row[9]) for row in found]


def totals_since(connection: sqlite3.Connection, *, moved: int) -> list[TotalRow]:
    found = every(connection, statement=sql.TOTALS_SINCE, values=(moved,))
    return [TotalRow(row[:3], Count(*row[3:5]), row[5]) for row in found]


def put_limits(connection: sqlite3.Connection, container: str, caps: Iterable[OfferCaps]) -> None:
    """Activate these limits, in the transaction of the versions they come from."""
    newest, changed = first(connection, sql.NEWEST_LIMIT) or (0, 0)
    changed += 1
    for one in caps:
        values = (container, one.offer)
        before = [
            KeptRow(*row) for row in every(connection, statement=sql.LIMITS_OF_OFFER, values=values)
        ]
        known = {row.counter: row for row in before}
        for row in put_in_force(before, one, newest + 1):
            newest = max(newest, row.counter)
            connection.execute(sql.PUT_LIMIT, (container, one.offer, *row, changed))
            changed += 1  # one number per row: readers up to a number have all below it
            if carried(known.get(row.counter), row):
                moved = next_move(connection)
                ends = lifetime_end(row.start_us, row.end_us, one.moment_us)
                values_ = (ends, moved, row.counter, one.moment_us)
                connection.execute(sql.CARRY_TOTALS, values_)


def commit(
    connection: sqlite3.Connection,
    *,
    container_id: str,
    based_on: int,
    written: Sequence[Instance],
    caps: Sequence[OfferCaps] | None,
) -> None:
    """Write these versions and their limits."""
    work.commit(connection, container_id=container_id, based_on=based_on, written=written)
    if caps is None or not written:
        return
    put_limits(connection, container_id, caps)
    # If earlier commits wrote no limits, `ensure_caps` still has to.
    if cap_revision(connection, container_id) == based_on:
        connection.execute(sql.PUT_CAP_REVISION, (container_id, written[-1].revision))


def cap_revision(connection: sqlite3.Connection, container: str) -> int:
    found = first(connection, sql.CAP_REVISION, container)
    return int(found[0]) if found else 0


def ensure_caps(
    connection: sqlite3.Connection, *, container: str, revision: int, caps: Sequence[OfferCaps]
) -> None:
    if cap_revision(connection, container) >= revision:
        return
    check_not_moved(container, _revision(connection, container), revision)
    said = {one.offer for one in caps}
    limited = every(connection, statement=sql.OFFERS_LIMITED, values=(container,))
    gone = [OfferCaps(offer=offer) for (offer,) in limited if offer not in said]
    put_limits(connection, container, [*caps, *gone])
    connection.execute(sql.PUT_CAP_REVISION, (container, revision))


def give_back_expired(connection: sqlite3.Connection, *, now_us: int) -> int:
    """Release expired reservations; return how many."""
    found = every(connection, statement=sql.EXPIRED, values=(now_us, MOST_EXPIRED))
    _give_back(connection, (((owner, identity), given) for _, _, owner, identity, given in found))
    many(connection, sql.SETTLE_EXPIRED, [row[:2] for row in found])
    return len(found)


def _give_back(connection: sqlite3.Connection, reserved: Iterable[tuple[Subject, bytes]]) -> None:
    """Subtract the counts of these reservations, each a subject and its encoded moves."""
    moves: Counter[Slot] = Counter()
    for subject, given in reserved:
        for total, counter, placement, window_us, count in decode_given(given):
            whose = (TOTAL, "") if total else subject
            moves[Slot(*whose, counter, placement, window_us)] += count
    stand = counters_at(connection, moves)
    put_counters(
        connection,
        {
            slot: count._replace(used=max(0, count.used - moves[slot]))
            for slot, count in stand.items()
        },
        next_move(connection),
    )


def settle(
    connection: sqlite3.Connection,
    *,
    container: str,
    decision: str,
    wanted: ReservationState,
    now_us: int,
) -> Reservation:
    """Confirm or release the reservation of a decision."""
    found = first(connection, sql.RESERVATION, container, decision)
    if found is None:
        raise NotFound(f"the decision `{decision}` reserved nothing", code="reservation-not-found")
    owner, identity, given, expires_us, text = found
    state = ReservationState(text)
    if state is ReservationState.HELD and expires_us <= now_us:
        state = ReservationState.EXPIRED
        _give_back(connection, [((owner, identity), given)])
        connection.execute(sql.SETTLE, (state.value, container, decision))
        return Reservation(decision_id=decision, state=state, expires_us=expires_us)
    if state is ReservationState.HELD:
        if wanted is ReservationState.RELEASED:
            _give_back(connection, [((owner, identity), given)])
        connection.execute(sql.SETTLE, (wanted.value, container, decision))
        state = wanted
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


def reservation(
    connection: sqlite3.Connection, *, container: str, decision: str, now_us: int
) -> Reservation | None:
    found = first(connection, sql.RESERVATION, container, decision)
    if found is None:
        return None
    _, _, _, expires_us, text = found
    state = ReservationState(text)
    if state is ReservationState.HELD and expires_us <= now_us:
        state = ReservationState.EXPIRED
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


def decisions_of(
    connection: sqlite3.Connection, *, container: str, propositions: Iterable[str]
) -> dict[str, DecisionEvent]:
    """Return the decisions of these propositions by id; each pack is opened once."""
    found: dict[str, DecisionEvent] = {}
    opened: dict[int, OpenPack] = {}
    for proposition in propositions:
        wanted = edge_ids.spelled(proposition)
        for number in _packs_of(connection, container, wanted):
            if number not in opened:
                row = first(connection, sql.PACK_OF, number, container)
                if row is None:
                    continue  # of another container, or deleted
                opened[number] = OpenPack(row[0])
            pack = opened[number]
            of_edge = edge_ids.is_of_edge(wanted)
            event = pack.find_edge(wanted) if of_edge else pack.find(wanted)
            if event is not None:
                found[proposition] = event
                break
    return found


def _packs_of(connection: sqlite3.Connection, container: str, wanted: str) -> list[int]:
    """Return the packs that may contain the decision of this decision or edge id."""
    at = decision_time_ms(wanted)
    if at is not None:
        values: tuple[object, ...] = (container, at, at + SPAN_MS, at)
        return [number for (number,) in every(connection, statement=sql.PACKS_AT, values=values)]
    oldest, newest = first(connection, sql.SPAN_ON_RECORD) or (None, None)
    if oldest is None or not edge_ids.is_of_edge(wanted):
        return []
    keys = text(edge_ids.keys_of(wanted, oldest - HOUR_MS, newest))
    return [number for (number,) in every(connection, statement=sql.PACKS_OF_EDGE, values=(keys,))]


def slice_left_out(
    connection: sqlite3.Connection, *, wanted: frozenset[str]
) -> edge_ids.Slice | None:
    """Build the slice of the newest unindexed packs; None when all packs are indexed."""
    (newest,) = first(connection, sql.NEWEST_PACK) or (0,)
    gap = edge_ids.left_out(_spans(connection), newest)
    if gap is None:
        return None
    values = (*gap, edge_ids.PACKS_TOGETHER)
    rows = every(connection, statement=sql.PACKS_WITHIN, values=values)
    span, packs = edge_ids.together([edge_ids.Listed(*row) for row in rows], gap)
    bodies = ((number, (first(connection, sql.PACK, number) or (b"",))[0]) for number in packs)
    return edge_ids.taken_apart(span, bodies, wanted)


def put_slice(connection: sqlite3.Connection, *, one: edge_ids.Slice) -> None:
    """Insert a slice into the index of edge proposition ids."""
    for number, keys in one.keys:
        connection.execute(sql.ADD_EDGE_IDS, (number, text(keys)))
    spans = edge_ids.with_span(_spans(connection), one.span)
    connection.execute(sql.REMOVE_EDGE_SPANS)
    connection.executemany(sql.ADD_EDGE_SPAN, spans)


def _spans(connection: sqlite3.Connection) -> list[edge_ids.Span]:
    return [edge_ids.Span(*row) for row in every(connection, statement=sql.EDGE_SPANS, values=())]


def packs(
    connection: sqlite3.Connection, *, container: str, after: int, limit: int
) -> list[tuple[int, tuple[DecisionEvent, ...]]]:
    found = every(connection, statement=sql.PACKS_AFTER, values=(container, after, limit))
    return [(number, tuple(unpack(body))) for number, body in found]


def sweep_totals(connection: sqlite3.Connection, *, before_us: int) -> int:
    """Delete global counters that ended before this moment; return how many."""
    return connection.execute(sql.SWEEP_TOTALS, (before_us,)).rowcount


def sweep_counters(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    """Delete at most `limit` subject counters that ended before this moment; return how many."""
    return connection.execute(sql.SWEEP_COUNTERS, (before_us, before_us, limit)).rowcount


def sweep_reservations(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    """Delete at most `limit` settled reservations that ended before; return how many."""
    return connection.execute(sql.SWEEP_RESERVATIONS, (before_us, limit)).rowcount


def sweep_edge_ids(connection: sqlite3.Connection, *, limit: int) -> int:
    """Delete index keys of deleted decisions, an hour late since packs overlap; how many."""
    oldest, _ = first(connection, sql.SPAN_ON_RECORD) or (None, None)
    if oldest is None:
        return 0
    bound = edge_ids.before(oldest - HOUR_MS)
    return connection.execute(sql.SWEEP_EDGE_IDS, (bound, limit)).rowcount


def forget_old(connection: sqlite3.Connection, *, before_ms: int, limit: int) -> tuple[int, int]:
    """Delete at most `limit` packs older than this; return numbers of packs and events."""
    return _forget(
        connection, every(connection, statement=sql.OLD_PACKS, values=(before_ms, limit))
    )


def forget_through(connection: sqlite3.Connection, *, through: int, limit: int) -> tuple[int, int]:
    """Delete at most `limit` packs up to this one; return numbers of packs and events."""
    return _forget(
        connection, every(connection, statement=sql.PACKS_THROUGH, values=(through, limit))
    )


def _forget(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> tuple[int, int]:
    connection.executemany(sql.REMOVE_PACK, [(number,) for number, _ in rows])
    return len(rows), sum(events for _, events in rows)
