"""PostgreSQL-specific SQL for limits, counters, reservations and stored decisions."""

COUNTER_LOCK = 0x50726F67
"""First key of the advisory locks of counters; the second is a number below `STRIPES`."""
LIMIT_LOCK = 0x50726F68
"""First key of the locks of a container's limits: shared to count, exclusive to change them."""
PACK_LOCK = 0x50726F69
"""Lock of decision packs (0) and feedback (1): shared to write, exclusive to read the newest."""
INDEX_LOCK = 0x50726F6B
"""Lock for adding packs to the index of edge proposition ids."""
NUMBERING_LOCK = 0x50726F6A
"""Lock for assigning numbers to new counters."""

LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(c, n) FROM unnest($1::int[], $2::int[]) AS a (c, n)"
PACKS_AT_MANY = """
    SELECT i.id, p.pack FROM unnest($2::text[], $3::bigint[]) i (id, ms)
    JOIN decision_packs p ON p.container_id = $1 AND p.last_ms BETWEEN i.ms AND i.ms + $4 AND p.first_ms <= i.ms
    ORDER BY p.last_ms"""
LOCK_TABLES_TO_WRITE = """
    SET LOCAL lock_timeout = 1000;
    LOCK TABLE cap_totals, cap_counters, decision_packs IN ROW EXCLUSIVE MODE"""
LOCK_ONE = "SELECT pg_advisory_xact_lock($1::int, $2::int)"
LOCK_STRIPES = "SELECT pg_advisory_xact_lock($1::int, s) FROM unnest($2::int[]) s"

STATE = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
        EXISTS (SELECT 1 FROM cap_limits WHERE changed >= $1),
        EXISTS (SELECT 1 FROM cap_reservations WHERE state = 'held' AND expires_us <= $2)"""
LIMITS_SINCE = """
    SELECT container_id, offer, counter, name, definition, most, anchor_us, start_us, end_us, terms, 0
    FROM cap_limits WHERE changed >= $1 ORDER BY counter"""
LIMITS_OF_OFFERS = """
    SELECT offer, counter, name, definition, most, anchor_us, start_us, end_us, terms
    FROM cap_limits WHERE container_id = $1 AND offer = ANY($2::text[]) ORDER BY counter"""
NEWEST_COUNTER = "SELECT coalesce(max(counter), 0) FROM cap_limits"
PUT_LIMITS = """
    INSERT INTO cap_limits (container_id, offer, counter, name, definition, most, anchor_us, start_us,
        end_us, terms, changed)
    SELECT $1, a.*, pg_current_xact_id()::text::bigint FROM unnest($2::text[], $3::bigint[], $4::text[],
        $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[]) a
    ON CONFLICT (counter) DO UPDATE SET name = excluded.name, definition = excluded.definition,
        most = excluded.most, anchor_us = excluded.anchor_us, start_us = excluded.start_us,
        end_us = excluded.end_us, terms = excluded.terms, changed = excluded.changed"""
LIMIT_DATES = "SELECT counter, start_us, end_us, terms FROM cap_limits WHERE counter = ANY($1::bigint[])"

NEXT_MOVE = "SELECT nextval('cap_moves')"
TOTALS_SINCE = """
    SELECT counter, placement, window_us, count, expires_us, moved FROM cap_totals WHERE mover >= $1"""
TOTALS = """
    SELECT c.counter, c.placement, c.window_us, c.count, c.expires_us
    FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS a (counter, placement, window_us)
    JOIN cap_totals c USING (counter, placement, window_us)"""
COUNTERS = """
    SELECT c.owner, c.identity, c.counter, c.placement, c.window_us, c.count, c.expires_us
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[])
        AS a (owner, identity, counter, placement, window_us)
    JOIN cap_counters c USING (owner, identity, counter, placement, window_us)"""
PUT_TOTALS = """
    INSERT INTO cap_totals (counter, placement, window_us, count, expires_us, moved, mover)
    SELECT a.*, $6::bigint, pg_current_xact_id()::text::bigint
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) a
    ON CONFLICT (counter, placement, window_us) DO UPDATE SET count = excluded.count,
        expires_us = excluded.expires_us, moved = excluded.moved, mover = excluded.mover"""
PUT_COUNTERS = """
    INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[],
        $7::bigint[])
    ON CONFLICT (owner, identity, counter, placement, window_us) DO UPDATE SET
        count = excluded.count, expires_us = excluded.expires_us"""
COUNTERS_OF = """
    SELECT c.owner, c.identity, c.counter, c.placement, c.window_us, c.count, c.expires_us
    FROM unnest($1::bigint[], $2::text[]) AS a (owner, identity)
    JOIN cap_counters c USING (owner, identity)"""
COUNTERS_NOW_OF = COUNTERS_OF + " WHERE c.window_us = 0 OR c.expires_us IS NULL OR c.expires_us > $3"
"""Ended counters without periods are included: their limit may have moved their end."""
REMOVE_COUNTERS_OF = """
    DELETE FROM cap_counters c USING unnest($1::bigint[], $2::text[]) AS a (owner, identity)
    WHERE c.owner = a.owner AND c.identity = a.identity"""

OWNERS = """
    SELECT j.space, j.namespace, j.id, j.owner, EXISTS (SELECT 1 FROM customers c WHERE c.customer = j.owner)
    FROM unnest($1::int[], $2::text[], $3::text[]) AS a (space, namespace, id)
    JOIN counting_identities j USING (space, namespace, id)
    UNION ALL
    SELECT i.space, i.namespace, i.id, i.customer, true
    FROM unnest($1::int[], $2::text[], $3::text[]) AS a (space, namespace, id)
    JOIN customer_identities i USING (space, namespace, id)"""
JOINED_OWNERS = """
    SELECT j.namespace, j.id, j.owner, EXISTS (SELECT 1 FROM customers c WHERE c.customer = j.owner)
    FROM unnest($2::text[], $3::text[]) AS a (namespace, id)
    JOIN counting_identities j ON j.space = $1 AND j.namespace = a.namespace AND j.id = a.id"""
JOINED_TO = "SELECT owner, namespace, id FROM counting_identities WHERE owner = ANY($1::bigint[])"
IDENTITIES_OF = "SELECT customer, identities FROM customers WHERE customer = ANY($1::bigint[])"
JOIN = """
    INSERT INTO counting_identities (space, namespace, id, owner, joined_us)
    SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
    ON CONFLICT (space, namespace, id) DO UPDATE SET owner = excluded.owner, joined_us = excluded.joined_us"""
LEAVE = """
    DELETE FROM counting_identities j USING unnest($2::text[], $3::text[]) AS a (namespace, id)
    WHERE j.space = $1 AND j.namespace = a.namespace AND j.id = a.id"""

ADD_RESERVATIONS = """
    INSERT INTO cap_reservations (container_id, decision, owner, identity, given, expires_us, state)
    SELECT a.*, 'held'
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::bigint[]) a"""
LOCK_RESERVATIONS = """
    SELECT r.container_id, r.decision, r.owner, r.identity, r.given, r.expires_us, r.state
    FROM cap_reservations r
    WHERE (r.container_id, r.decision) IN (SELECT * FROM unnest($1::text[], $2::text[]))
    ORDER BY r.container_id, r.decision FOR UPDATE"""
EXPIRED = """
    SELECT container_id, decision, owner, identity, given, expires_us, state FROM cap_reservations
    WHERE state = 'held' AND expires_us <= $1 ORDER BY expires_us LIMIT $2"""
SETTLE = """
    UPDATE cap_reservations SET state = $1
    WHERE (container_id, decision) IN (SELECT * FROM unnest($2::text[], $3::text[]))"""
RESERVED_BY = """
    SELECT DISTINCT r.owner, r.identity FROM unnest($1::bigint[], $2::text[]) AS a (owner, identity)
    JOIN cap_reservations r USING (owner, identity)"""

ADD_EDGE_IDS = """
    INSERT INTO decision_edge_ids (edge_key, pack) SELECT * FROM unnest($1::bigint[], $2::bigint[])
    ON CONFLICT (edge_key) DO NOTHING"""
PACKS_OF_EDGE = "SELECT pack FROM decision_edge_ids WHERE edge_key = ANY($1::bigint[])"
ADD_EDGE_SPANS = """
    INSERT INTO decision_edge_spans (first_pack, last_pack)
    SELECT * FROM unnest($1::bigint[], $2::bigint[])"""
BODIES = "SELECT pack, body FROM decision_packs WHERE pack = ANY($1::bigint[])"
PACKS_BETWEEN = """
    SELECT pack, body FROM decision_packs WHERE container_id = $1 AND pack > $2 AND pack <= $3
    ORDER BY pack LIMIT $4"""
LOCK_PACKS = """
    SELECT pack, body FROM decision_packs WHERE container_id = $1 AND pack > $2 ORDER BY pack LIMIT $3
    FOR UPDATE"""
REMOVE_PACKS = "DELETE FROM decision_packs WHERE pack = ANY($1::bigint[])"

ADD_FEEDBACK = """
    INSERT INTO feedback_events (container_id, event_id, received_us, missed, body)
    SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::int[], $5::bytea[])
    ON CONFLICT (container_id, event_id) DO NOTHING RETURNING event_id"""
NEWEST_FEEDBACK = "SELECT coalesce(max(number), 0) FROM feedback_events"
FEEDBACK_BETWEEN = """
    SELECT number, body FROM feedback_events
    WHERE container_id = $1 AND number > $2 AND number <= $3 AND missed >= $4 ORDER BY number LIMIT $5"""
LOCK_FEEDBACK = """
    SELECT number, body FROM feedback_events WHERE container_id = $1 AND number > $2
    ORDER BY number LIMIT $3 FOR UPDATE"""
LOCK_EVENT = """
    SELECT body FROM feedback_events WHERE number = $1 AND container_id = $2 FOR UPDATE"""

# One statement reads and one writes all of a group: round trips dominate its cost.
READ_GROUP = """
    SELECT 0, j.space::bigint, j.namespace, j.id, j.owner,
        (EXISTS (SELECT 1 FROM customers c WHERE c.customer = j.owner))::int::bigint, NULL::bigint, NULL::bigint
    FROM unnest($1::int[], $2::text[], $3::text[]) AS a (space, namespace, id)
    JOIN counting_identities j USING (space, namespace, id)
    UNION ALL
    SELECT 0, i.space, i.namespace, i.id, i.customer, 1, NULL, NULL
    FROM unnest($1::int[], $2::text[], $3::text[]) AS a (space, namespace, id)
    JOIN customer_identities i USING (space, namespace, id)
    UNION ALL
    SELECT 1, c.counter, c.placement, NULL, c.window_us, c.count, c.expires_us, NULL
    FROM unnest($4::bigint[], $5::text[], $6::bigint[]) AS a (counter, placement, window_us)
    JOIN cap_totals c USING (counter, placement, window_us)
    UNION ALL
    SELECT 2, c.owner, c.identity, c.placement, c.counter, c.window_us, c.count, c.expires_us
    FROM unnest($7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::bigint[])
        AS a (owner, identity, counter, placement, window_us)
    JOIN cap_counters c USING (owner, identity, counter, placement, window_us)
    UNION ALL
    SELECT 3, nextval('cap_moves'), NULL, NULL, NULL, NULL, NULL, NULL"""
WRITE_GROUP = """
    WITH totals AS (
        INSERT INTO cap_totals (counter, placement, window_us, count, expires_us, moved, mover)
        SELECT a.*, $6::bigint, pg_current_xact_id()::text::bigint
        FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) a
        ON CONFLICT (counter, placement, window_us) DO UPDATE SET count = excluded.count,
            expires_us = excluded.expires_us, moved = excluded.moved, mover = excluded.mover
    ), counters AS (
        INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
        SELECT * FROM unnest($7::bigint[], $8::text[], $9::bigint[], $10::text[], $11::bigint[],
            $12::bigint[], $13::bigint[])
        ON CONFLICT (owner, identity, counter, placement, window_us) DO UPDATE SET
            count = excluded.count, expires_us = excluded.expires_us
    )
    INSERT INTO decision_packs (container_id, first_ms, last_ms, events, body)
    SELECT * FROM unnest($14::text[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bytea[])"""

SURPLUS_PACK = """
    SELECT max(pack) FROM (
        SELECT pack, sum(length(body)) OVER (ORDER BY pack DESC) AS bytes FROM decision_packs) newest
    WHERE bytes > $1"""
SURPLUS_FEEDBACK = """
    SELECT max(number) FROM (
        SELECT number, sum(length(body)) OVER (ORDER BY number DESC) AS bytes FROM feedback_events) newest
    WHERE bytes > $1"""
