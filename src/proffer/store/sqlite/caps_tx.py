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
)
from proffer.model.counting import Counting, counted_identities
from proffer.model.events import DecisionEvent, decision_time_ms
from proffer.model.instance import Instance
from proffer.store.common import proposition_index as edge_ids
from proffer.store.common.cap_cache import ActiveLimits, LimitRow, TotalRow
from proffer.store.common.caps import (
    GLOBAL_OWNER,
    ActiveLimit,
    CounterKey,
    CounterNeed,
    CounterValue,
    EndMove,
    StoredLimit,
    Subject,
    changed_limits,
    check_not_outdated,
    counter_needs,
    counter_subjects,
    event_subject,
    independent_prefix,
    moved_ends,
)
from proffer.store.common.event_codec import PACK_SPAN_MS, PackReader, decode_pack, group_into_packs
from proffer.store.common.reservations import (
    HOUR_MS,
    MAX_EXPIRED,
    GroupOutcome,
    RecordItem,
    RecordResult,
    decode_moves,
    reserve_group,
)
from proffer.store.common.reservations import encode_json as to_json
from proffer.store.ports import MAX_SEEN_DAYS
from proffer.store.sql import cap_statements as sql
from proffer.store.sql import statements
from proffer.store.sqlite import catalog_tx as work
from proffer.store.sqlite.catalog_tx import fetch_all, fetch_one
from proffer.store.sqlite.counters import (
    execute_for_rows,
    next_move_number,
    put_counters,
    read_counters,
)
from proffer.store.sqlite.customers_tx import newest_key, set_newest_key, space_of
from proffer.store.sqlite.owners import countings, find_owners, join

_NO_COUNTING = Counting()


class RecordBatch:
    """Batch handler: processes decisions in order, writes counters and events together."""

    def __init__(self) -> None:
        self._limits = ActiveLimits()
        self._spaces: dict[str, int] = {}

    def on_rollback(self) -> None:
        self._limits = ActiveLimits()
        self._spaces = {}

    def __call__(self, connection: sqlite3.Connection, items: Sequence[RecordItem]) -> list[RecordResult]:
        now_us = max(item.request.now_us for item in items)
        changed, move_number, expired = fetch_one(connection, sql.STATE, now_us) or (0, 0, 0)
        if expired:
            release_expired(connection, now_us=now_us)
            _, move_number, _ = fetch_one(connection, sql.STATE, now_us) or (0, 0, 0)
        if (changed or 0) > self._limits.last_change:
            self._limits.update(limits_since(connection, change_number=self._limits.last_change))
        move_number = (move_number or 0) + 1
        accepted: list[tuple[RecordItem, Subject | None]] = []
        results: list[RecordResult] = []
        size = len(items)
        while len(results) < len(items):  # once, unless an item reads counters that an earlier one merges
            outcome = self._record(connection, items[len(results) : len(results) + size], move_number)
            size = 2 * len(outcome.outcomes)  # so that items are not resolved too often
            revisions = {name: _revision(connection, name) for name in outcome.refusing_containers}
            accepted += outcome.accepted_items
            results += outcome.results(revisions)
        _add_packs(connection, accepted)
        return results

    def _record(self, connection: sqlite3.Connection, items: Sequence[RecordItem], move_number: int) -> GroupOutcome:
        """Count as many of the first items as do not read each other's merged counters."""
        item_limits = [self._limits_of_item(item) for item in items]
        item_countings = self._countings(connection, items, item_limits)
        subjects = self._subjects(connection, items, item_countings)
        may_join = any(len(item.request.identities) > 1 for item in items)
        count = independent_prefix(zip(item_countings, subjects, strict=True)) if may_join else len(items)
        needs: list[Sequence[CounterNeed]] = [
            counter_needs(item.request, self._limits.for_container(item.container), item_subjects)
            if limits or item.ttl_us is not None
            else ()
            for item, limits, item_subjects in zip(items[:count], item_limits, subjects, strict=False)
        ]
        counters = read_counters(
            connection,
            (counter_key for item_needs in needs for need in item_needs for counter_key in need.counter_keys),
        )
        outcome = reserve_group(items[:count], subjects[:count], needs, counters, move_number)
        put_counters(connection, outcome.counters, move_number)
        execute_for_rows(connection, sql.ADD_RESERVATIONS, outcome.reservations)
        if may_join:
            for position in outcome.accepted([index for index in range(count) if item_countings[index].joins]):
                self._join(connection, items[position], item_countings[position], subjects[position])
        return outcome

    def _countings(
        self, connection: sqlite3.Connection, items: Sequence[RecordItem], item_limits: Sequence[Sequence[ActiveLimit]]
    ) -> list[Counting]:
        """Return whose counters apply to each item; empty where it does not matter."""
        result = [_NO_COUNTING] * len(items)
        # It matters for per-profile limits, for reservations, and where several identities may join.
        positions_by_space: dict[int, list[int]] = {}
        for position, item in enumerate(items):
            if item.request.identities and (
                item.ttl_us is not None
                or not all(active_limit.is_global for active_limit in item_limits[position])
                or (len(item.request.identities) > 1 and self._limits.counts_profiles(item.container))
            ):
                positions_by_space.setdefault(self._space(connection, item.container), []).append(position)
        identities = {
            (space, *identity): None
            for space, positions in positions_by_space.items()
            for position in positions
            for identity in counted_identities(items[position].request.identities)
        }
        owners_by_space = find_owners(connection, identities)
        for space, positions in positions_by_space.items():
            identity_lists = [items[position].request.identities for position in positions]
            space_countings = countings(connection, identity_lists, owners_by_space.get(space, {}))
            for position, counting in zip(positions, space_countings, strict=True):
                result[position] = counting
        return result

    def _subjects(
        self, connection: sqlite3.Connection, items: Sequence[RecordItem], item_countings: Sequence[Counting]
    ) -> list[Sequence[Subject]]:
        """Return the subjects of each item; the first is the one incremented."""
        result: list[Sequence[Subject]] = []
        new_owners: dict[str, int] = {}
        for item, counting in zip(items, item_countings, strict=True):
            if counting is _NO_COUNTING:
                result.append(())
                continue
            subjects = counter_subjects(counting, self._space(connection, item.container))
            if counting.needs_owner:
                newest = new_owners.get(item.container) or newest_key(connection, item.container)
                new_owners[item.container] = newest + 1
                subjects.insert(0, (newest + 1, ""))
            result.append(subjects)
        return result

    def _join(
        self, connection: sqlite3.Connection, item: RecordItem, counting: Counting, subjects: Sequence[Subject]
    ) -> None:
        """Give the item's owner the identities and owners that count for it."""
        owner, _ = subjects[0]
        if counting.needs_owner:
            set_newest_key(connection, item.container, owner)
        space = self._space(connection, item.container)
        join(connection, space=space, owner=owner, counting=counting, now_us=item.request.now_us)

    def _limits_of_item(self, item: RecordItem) -> list[ActiveLimit]:
        """Return the limits in force of the item's offers."""
        limits = self._limits.for_container(item.container)
        return [active_limit for offer, _ in item.request.offer_placements for active_limit in limits.get(offer, ())]

    def _space(self, connection: sqlite3.Connection, container: str) -> int:
        space = self._spaces.get(container)
        if space is None:
            space = self._spaces[container] = space_of(connection, container)
        return space


def _revision(connection: sqlite3.Connection, container: str) -> int:
    row = fetch_one(connection, statements.REVISION_OF, container)
    return int(row[0]) if row else 0


def _add_packs(connection: sqlite3.Connection, accepted: Sequence[tuple[RecordItem, Subject | None]]) -> None:
    """Insert the events as packs, by container."""
    events = ((item.container, item.decision, item.event, event_subject(subject)) for item, subject in accepted)
    for pack_row in group_into_packs(events):
        connection.execute(sql.ADD_PACK, pack_row)


def limits_since(connection: sqlite3.Connection, *, change_number: int) -> list[LimitRow]:
    rows = fetch_all(connection, statement=sql.LIMITS_SINCE, values=(change_number,))
    return [LimitRow(row[0], row[1], StoredLimit(*row[2:10]), row[10]) for row in rows]


def totals_since(connection: sqlite3.Connection, *, move_number: int) -> list[TotalRow]:
    rows = fetch_all(connection, statement=sql.TOTALS_SINCE, values=(move_number,))
    return [TotalRow(row[:3], CounterValue(*row[3:5]), row[5]) for row in rows]


def put_limits(connection: sqlite3.Connection, container: str, caps: Iterable[OfferCaps]) -> None:
    """Activate these limits, in the transaction of the versions they come from."""
    last_counter, change_number = fetch_one(connection, sql.NEWEST_LIMIT) or (0, 0)
    change_number += 1
    for offer_caps in caps:
        values = (container, offer_caps.offer)
        stored = [StoredLimit(*row) for row in fetch_all(connection, statement=sql.LIMITS_OF_OFFER, values=values)]
        for row in changed_limits(stored, offer_caps, last_counter + 1):
            last_counter = max(last_counter, row.counter)
            connection.execute(sql.PUT_LIMIT, (container, offer_caps.offer, *row, change_number))
            change_number += 1  # one number per row: readers up to a number have all below it


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
    row = fetch_one(connection, sql.CAP_REVISION, container)
    return int(row[0]) if row else 0


def ensure_caps(connection: sqlite3.Connection, *, container: str, revision: int, caps: Sequence[OfferCaps]) -> None:
    if cap_revision(connection, container) >= revision:
        return
    check_not_outdated(container, _revision(connection, container), revision)
    offers = {offer_caps.offer for offer_caps in caps}
    limited = fetch_all(connection, statement=sql.OFFERS_LIMITED, values=(container,))
    removed = [OfferCaps(offer=offer) for (offer,) in limited if offer not in offers]
    put_limits(connection, container, [*caps, *removed])
    connection.execute(sql.PUT_CAP_REVISION, (container, revision))


def rewrite_header(connection: sqlite3.Connection) -> None:
    """Write a page without changing anything: its commit shows whether the disk takes writes."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version}")


def release_expired(connection: sqlite3.Connection, *, now_us: int) -> int:
    """Release expired reservations; return how many."""
    rows = fetch_all(connection, statement=sql.EXPIRED, values=(now_us, MAX_EXPIRED))
    _return_counts(
        connection,
        (((owner, identity), encoded_moves) for _, _, owner, identity, encoded_moves in rows),
    )
    execute_for_rows(connection, sql.SETTLE_EXPIRED, [row[:2] for row in rows])
    return len(rows)


def _return_counts(connection: sqlite3.Connection, reserved: Iterable[tuple[Subject, bytes]]) -> None:
    """Subtract the counts of these reservations. Each is a subject and its encoded moves."""
    moves: Counter[CounterKey] = Counter()
    for subject, encoded_moves in reserved:
        for total, counter, placement, window_us, count in decode_moves(encoded_moves):
            move_subject = (GLOBAL_OWNER, "") if total else subject
            moves[CounterKey(*move_subject, counter, placement, window_us)] += count
    counters = read_counters(connection, moves)
    put_counters(
        connection,
        {
            counter_key: count._replace(used=max(0, count.used - moves[counter_key]))
            for counter_key, count in counters.items()
        },
        next_move_number(connection),
    )


def settle(
    connection: sqlite3.Connection,
    *,
    container: str,
    decision: str,
    target_state: ReservationState,
    now_us: int,
) -> Reservation:
    """Confirm or release the reservation of a decision."""
    row = fetch_one(connection, sql.RESERVATION, container, decision)
    if row is None:
        raise NotFound(f"the decision `{decision}` has no reservation", code="reservation-not-found")
    owner, identity, encoded_moves, expires_us, state_text = row
    state = ReservationState(state_text)
    if state is ReservationState.HELD:
        state = ReservationState.EXPIRED if expires_us <= now_us else target_state
        if state is not ReservationState.CONFIRMED:
            _return_counts(connection, [((owner, identity), encoded_moves)])
        connection.execute(sql.SETTLE, (state.value, container, decision))
    return Reservation(decision_id=decision, state=state, expires_us=expires_us)


def reservation(connection: sqlite3.Connection, *, container: str, decision: str, now_us: int) -> Reservation | None:
    row = fetch_one(connection, sql.RESERVATION, container, decision)
    if row is None:
        return None
    _, _, _, expires_us, state_text = row
    return Reservation(decision_id=decision, state=ReservationState(state_text), expires_us=expires_us).at(now_us)


def decisions_of(
    connection: sqlite3.Connection, *, container: str, propositions: Iterable[str]
) -> dict[str, DecisionEvent]:
    """Return the decisions of these propositions by id; each pack is opened once."""
    decisions: dict[str, DecisionEvent] = {}
    open_packs: dict[int, PackReader] = {}
    for proposition in propositions:
        proposition_id = edge_ids.normalize_id(proposition)
        for number in _candidate_packs(connection, container, proposition_id):
            if number not in open_packs:
                row = fetch_one(connection, sql.PACK_OF, number, container)
                if row is None:
                    continue  # of another container, or deleted
                open_packs[number] = PackReader(row[0])
            pack = open_packs[number]
            is_edge = edge_ids.is_edge_id(proposition_id)
            event = pack.find_edge(proposition_id) if is_edge else pack.find(proposition_id)
            if event is not None:
                decisions[proposition] = event
                break
    return decisions


def _candidate_packs(connection: sqlite3.Connection, container: str, proposition_id: str) -> list[int]:
    """Return the packs that may contain the decision of this id. The id is a decision id or an edge id."""
    moment = decision_time_ms(proposition_id)
    if moment is not None:
        values: tuple[object, ...] = (container, moment, moment + PACK_SPAN_MS, moment)
        return [number for (number,) in fetch_all(connection, statement=sql.PACKS_AT, values=values)]
    oldest, newest = fetch_one(connection, sql.SPAN_ON_RECORD) or (None, None)
    if oldest is None or not edge_ids.is_edge_id(proposition_id):
        return []
    keys = to_json(edge_ids.candidate_keys(proposition_id, oldest - HOUR_MS, newest))
    return [number for (number,) in fetch_all(connection, statement=sql.PACKS_OF_EDGE, values=(keys,))]


def read_next_slice(connection: sqlite3.Connection, *, searched_ids: frozenset[str]) -> edge_ids.IndexSlice | None:
    """Build the slice of the newest unindexed packs; None when all packs are indexed."""
    (newest,) = fetch_one(connection, sql.NEWEST_PACK) or (0,)
    gap = edge_ids.newest_gap(_indexed_ranges(connection), newest)
    if gap is None:
        return None
    values = (*gap, edge_ids.PACKS_TOGETHER)
    rows = fetch_all(connection, statement=sql.PACKS_WITHIN, values=values)
    pack_range, packs = edge_ids.next_packs([edge_ids.PackInfo(*row) for row in rows], gap)
    bodies = ((number, (fetch_one(connection, sql.PACK, number) or (b"",))[0]) for number in packs)
    return edge_ids.index_slice(pack_range, bodies, searched_ids)


def add_slice(connection: sqlite3.Connection, *, new_slice: edge_ids.IndexSlice) -> None:
    """Insert a slice into the index of edge proposition ids."""
    for number, keys in new_slice.keys:
        connection.execute(sql.ADD_EDGE_IDS, (number, to_json(keys)))
    ranges = edge_ids.add_range(_indexed_ranges(connection), new_slice.pack_range)
    connection.execute(sql.REMOVE_EDGE_SPANS)
    connection.executemany(sql.ADD_EDGE_SPAN, ranges)


def _indexed_ranges(connection: sqlite3.Connection) -> list[edge_ids.PackRange]:
    return [edge_ids.PackRange(*row) for row in fetch_all(connection, statement=sql.EDGE_SPANS, values=())]


def read_packs(
    connection: sqlite3.Connection, *, container: str, after: int, limit: int
) -> list[tuple[int, tuple[DecisionEvent, ...]]]:
    rows = fetch_all(connection, statement=sql.PACKS_AFTER, values=(container, after, limit))
    return [(number, tuple(decode_pack(body))) for number, body in rows]


def record_day(connection: sqlite3.Connection, *, day: int, count: int) -> int | None:
    """Record a day on which a server ran; return the first of the last `count`, None if there are fewer."""
    connection.execute(sql.ADD_SEEN_DAY, (day,))
    oldest = fetch_one(connection, sql.SEEN_DAY, day, MAX_SEEN_DAYS - 1)
    if oldest is not None:
        connection.execute(sql.REMOVE_SEEN_DAYS, oldest)
    row = fetch_one(connection, sql.SEEN_DAY, day, count - 1)
    return None if row is None else int(row[0])


def moves_due(connection: sqlite3.Connection, *, before_us: int) -> list[EndMove]:
    """Return the moved ends that counters due for deletion may carry."""
    return moved_ends(fetch_all(connection, statement=sql.LIMITS_WITH_TERMS, values=()), before_us)


def move_counters_end(connection: sqlite3.Connection, *, move: EndMove, limit: int) -> int:
    """Give at most `limit` subject counters, and the global ones, the end that their limit moved; how many."""
    connection.execute(sql.MOVE_TOTALS_END, move)
    return connection.execute(sql.MOVE_COUNTERS_END, (*move, limit)).rowcount


def delete_ended_totals(connection: sqlite3.Connection, *, before_us: int) -> int:
    """Delete global counters that ended before this moment; return how many."""
    return connection.execute(sql.SWEEP_TOTALS, (before_us,)).rowcount


def delete_ended_counters(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    """Delete at most `limit` subject counters that ended before this moment; return how many."""
    return connection.execute(sql.SWEEP_COUNTERS, (before_us, before_us, limit)).rowcount


def delete_settled_reservations(connection: sqlite3.Connection, *, before_us: int, limit: int) -> int:
    """Delete at most `limit` settled reservations that ended before; return how many."""
    return connection.execute(sql.SWEEP_RESERVATIONS, (before_us, limit)).rowcount


def delete_old_edge_ids(connection: sqlite3.Connection, *, limit: int) -> int:
    """Delete index keys of deleted decisions, an hour late since packs overlap; how many."""
    oldest, _ = fetch_one(connection, sql.SPAN_ON_RECORD) or (None, None)
    if oldest is None:
        return 0
    bound = edge_ids.first_key_of_day(oldest - HOUR_MS)
    return connection.execute(sql.SWEEP_EDGE_IDS, (bound, limit)).rowcount


def delete_old_packs(connection: sqlite3.Connection, *, before_ms: int, limit: int) -> tuple[int, int]:
    """Delete at most `limit` packs older than this; return numbers of packs and events."""
    return _delete_packs(connection, fetch_all(connection, statement=sql.OLD_PACKS, values=(before_ms, limit)))


def delete_packs_through(connection: sqlite3.Connection, *, through: int, limit: int) -> tuple[int, int]:
    """Delete at most `limit` packs up to this one; return numbers of packs and events."""
    return _delete_packs(connection, fetch_all(connection, statement=sql.PACKS_THROUGH, values=(through, limit)))


def _delete_packs(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> tuple[int, int]:
    connection.executemany(sql.REMOVE_PACK, [(number,) for number, _ in rows])
    return len(rows), sum(events for _, events in rows)
