"""SQL for limits, counters, reservations and stored decisions.

`{}` stands for several rows of values. Statements that read many rows return them as one JSON text,
since `sqlite3` releases and reacquires the GIL for each row.
"""

STATE = """
    SELECT (SELECT max(changed) FROM cap_limits), (SELECT max(moved) FROM cap_totals),
        EXISTS (SELECT 1 FROM cap_reservations WHERE state = 'held' AND expires_us <= ?)"""

LIMITS_SINCE = """
    SELECT container_id, offer, counter, name, definition, most, anchor_us, start_us, end_us, terms,
        changed
    FROM cap_limits WHERE changed > ? ORDER BY changed"""
LIMITS_OF_OFFER = """
    SELECT counter, name, definition, most, anchor_us, start_us, end_us, terms
    FROM cap_limits WHERE container_id = ? AND offer = ? ORDER BY counter"""
NEWEST_LIMIT = "SELECT coalesce(max(counter), 0), coalesce(max(changed), 0) FROM cap_limits"
OFFERS_LIMITED = """
    SELECT DISTINCT offer FROM cap_limits WHERE container_id = ? AND most IS NOT NULL"""
PUT_LIMIT = """
    INSERT INTO cap_limits (container_id, offer, counter, name, definition, most, anchor_us, start_us,
        end_us, terms, changed)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (counter) DO UPDATE SET name = excluded.name, definition = excluded.definition,
        most = excluded.most, anchor_us = excluded.anchor_us, start_us = excluded.start_us,
        end_us = excluded.end_us, terms = excluded.terms, changed = excluded.changed"""
CAP_REVISION = "SELECT revision FROM cap_revisions WHERE container_id = ?"
PUT_CAP_REVISION = """
    INSERT INTO cap_revisions (container_id, revision) VALUES (?, ?)
    ON CONFLICT (container_id) DO UPDATE SET revision = excluded.revision"""

TOTALS_SINCE = """
    SELECT counter, placement, window_us, count, expires_us, moved FROM cap_totals WHERE moved > ?"""
TOTALS = """
    WITH asked (counter, placement, window_us) AS (VALUES {})
    SELECT json_group_array(json_array(c.counter, c.placement, c.window_us, c.count, c.expires_us))
    FROM asked a CROSS JOIN cap_totals c
    WHERE c.counter = a.counter AND c.placement = a.placement AND c.window_us = a.window_us"""
COUNTERS = """
    WITH asked (owner, identity, counter, placement, window_us) AS (VALUES {})
    SELECT json_group_array(json_array(
        c.owner, c.identity, c.counter, c.placement, c.window_us, c.count, c.expires_us))
    FROM asked a CROSS JOIN cap_counters c
    WHERE c.owner = a.owner AND c.identity = a.identity AND c.counter = a.counter
        AND c.placement = a.placement AND c.window_us = a.window_us"""
PUT_TOTALS = """
    INSERT INTO cap_totals (counter, placement, window_us, count, expires_us, moved) VALUES {}
    ON CONFLICT (counter, placement, window_us) DO UPDATE SET count = excluded.count,
        expires_us = excluded.expires_us, moved = excluded.moved"""
PUT_COUNTERS = """
    INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
    VALUES {}
    ON CONFLICT (owner, identity, counter, placement, window_us) DO UPDATE SET
        count = excluded.count, expires_us = excluded.expires_us"""
LIMITS_WITH_TERMS = """
    SELECT counter, start_us, end_us, terms FROM cap_limits WHERE terms IS NOT NULL ORDER BY counter"""
LIMIT_DATES = """
    SELECT counter, start_us, end_us, terms FROM cap_limits WHERE counter IN (SELECT value FROM json_each(?))"""
MOVE_TOTALS_END = "UPDATE cap_totals SET expires_us = ? WHERE expires_us = ? AND counter = ? AND window_us = 0"
MOVE_COUNTERS_END = """
    UPDATE cap_counters SET expires_us = ? WHERE (owner, identity, counter, placement, window_us) IN (
        SELECT owner, identity, counter, placement, window_us FROM cap_counters
        WHERE expires_us = ? AND counter = ? AND window_us = 0 LIMIT ?)"""
COUNTERS_OF = """
    SELECT counter, placement, window_us, count, expires_us FROM cap_counters
    WHERE owner = ? AND identity = ?"""
COUNTERS_NOW_OF = COUNTERS_OF + " AND (window_us = 0 OR expires_us IS NULL OR expires_us > ?)"
"""Ended counters without periods are included: their limit may have moved their end."""
REMOVE_COUNTERS_OF = "DELETE FROM cap_counters WHERE owner = ? AND identity = ?"
HAS_COUNTERS = """
    SELECT EXISTS (SELECT 1 FROM cap_counters WHERE owner = ?)
        OR EXISTS (SELECT 1 FROM cap_reservations WHERE owner = ?)"""
IDENTITIES_WITH_COUNTERS = """
    SELECT a.value FROM json_each(?) a
    WHERE EXISTS (SELECT 1 FROM cap_counters c WHERE c.owner = ? AND c.identity = a.value)
        OR EXISTS (SELECT 1 FROM cap_reservations r WHERE r.owner = ? AND r.identity = a.value)"""
SWEEP_COUNTERS = """
    DELETE FROM cap_counters
    WHERE expires_us < ? AND (owner, identity, counter, placement, window_us) IN (
        SELECT owner, identity, counter, placement, window_us FROM cap_counters
        WHERE expires_us IS NOT NULL AND expires_us < ? LIMIT ?)"""
SWEEP_TOTALS = """
    DELETE FROM cap_totals WHERE expires_us IS NOT NULL AND expires_us < ?
        AND moved < (SELECT max(moved) FROM cap_totals)"""

OWNERS = """
    WITH asked (space, namespace, id) AS (VALUES {})
    SELECT json_group_array(json_array(a.space, a.namespace, a.id, coalesce(i.customer, j.owner),
        i.customer IS NOT NULL OR EXISTS (SELECT 1 FROM customers c WHERE c.customer = j.owner)))
    FROM asked a
    LEFT JOIN customer_identities i ON i.space = a.space AND i.namespace = a.namespace AND i.id = a.id
    LEFT JOIN counting_identities j ON j.space = a.space AND j.namespace = a.namespace AND j.id = a.id
    WHERE i.customer IS NOT NULL OR j.owner IS NOT NULL"""
JOINED_OWNERS = """
    SELECT j.namespace, j.id, j.owner, EXISTS (SELECT 1 FROM customers c WHERE c.customer = j.owner)
    FROM json_each(?) a CROSS JOIN counting_identities j
    WHERE j.space = ? AND j.namespace = json_extract(a.value, '$[0]') AND j.id = json_extract(a.value, '$[1]')"""
JOINED_TO = """
    SELECT j.owner, j.namespace, j.id FROM json_each(?) a CROSS JOIN counting_identities j
    WHERE j.owner = json_extract(a.value, '$[0]')"""
IDENTITIES_OF = """
    SELECT c.customer, c.identities FROM json_each(?) a CROSS JOIN customers c
    WHERE c.customer = json_extract(a.value, '$[0]')"""
HAS_JOINED = "SELECT EXISTS (SELECT 1 FROM counting_identities WHERE space = ?)"
JOIN = """
    INSERT INTO counting_identities (space, namespace, id, owner, joined_us) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (space, namespace, id) DO UPDATE SET owner = excluded.owner, joined_us = excluded.joined_us"""
MOVE_JOINED = "UPDATE counting_identities SET owner = ? WHERE owner = ?"
LEAVE = "DELETE FROM counting_identities WHERE space = ? AND namespace = ? AND id = ?"
REMOVE_JOINED_TO = "DELETE FROM counting_identities WHERE owner = ?"
OWNERS_AFTER = """
    SELECT owner, max(joined_us) FROM counting_identities WHERE owner > ?
    GROUP BY owner ORDER BY owner LIMIT ?"""
REMOVE_UNUSED_JOINS = """
    DELETE FROM counting_identities WHERE owner = ?
        AND NOT EXISTS (SELECT 1 FROM cap_counters c WHERE c.owner = counting_identities.owner)
        AND NOT EXISTS (SELECT 1 FROM cap_reservations r WHERE r.owner = counting_identities.owner)"""

ADD_RESERVATIONS = """
    INSERT INTO cap_reservations (container_id, decision, owner, identity, given, expires_us, state)
    SELECT column1, column2, column3, column4, column5, column6, 'held' FROM (VALUES {}) WHERE true
    ON CONFLICT (container_id, decision) DO NOTHING"""
RESERVATION = """
    SELECT owner, identity, given, expires_us, state FROM cap_reservations
    WHERE container_id = ? AND decision = ?"""
EXPIRED = """
    SELECT container_id, decision, owner, identity, given FROM cap_reservations
    WHERE state = 'held' AND expires_us <= ? LIMIT ?"""
SETTLE_EXPIRED = """
    UPDATE cap_reservations SET state = 'expired'
    WHERE state = 'held' AND (container_id, decision) IN (VALUES {})"""
SETTLE = "UPDATE cap_reservations SET state = ? WHERE container_id = ? AND decision = ?"
MOVE_RESERVATIONS = """
    UPDATE cap_reservations SET owner = ?, identity = ? WHERE owner = ? AND identity = ?"""
SWEEP_RESERVATIONS = """
    DELETE FROM cap_reservations WHERE (container_id, decision) IN (
        SELECT container_id, decision FROM cap_reservations
        WHERE state IN ('confirmed', 'released', 'expired') AND expires_us < ? LIMIT ?)"""

ADD_SEEN_DAY = "INSERT INTO seen_days (day) VALUES (?) ON CONFLICT (day) DO NOTHING"
SEEN_DAY = "SELECT day FROM seen_days WHERE day <= ? ORDER BY day DESC LIMIT 1 OFFSET ?"
REMOVE_SEEN_DAYS = "DELETE FROM seen_days WHERE day < ?"

ADD_PACK = """
    INSERT INTO decision_packs (container_id, first_ms, last_ms, events, body) VALUES (?, ?, ?, ?, ?)"""
PACKS_AT = """
    SELECT pack FROM decision_packs
    WHERE container_id = ? AND last_ms >= ? AND last_ms <= ? AND first_ms <= ? ORDER BY last_ms"""
PACK = "SELECT body FROM decision_packs WHERE pack = ?"
PACKS_AFTER = """
    SELECT pack, body FROM decision_packs WHERE container_id = ? AND pack > ? ORDER BY pack LIMIT ?"""
# The newest pack stays, so that numbers are never reused.
OLD_PACKS = """
    SELECT p.pack, p.events FROM containers c CROSS JOIN decision_packs p
    WHERE p.container_id = c.id AND p.last_ms < ?
        AND p.pack < (SELECT max(pack) FROM decision_packs) LIMIT ?"""
REMOVE_PACK = "DELETE FROM decision_packs WHERE pack = ?"
PACKS_SIZE = "SELECT coalesce(sum(length(body)), 0) FROM decision_packs"
PACK_SIZES = "SELECT pack, length(body) FROM decision_packs ORDER BY pack"
PACKS_THROUGH = """
    SELECT pack, events FROM decision_packs
    WHERE pack <= ? AND pack < (SELECT max(pack) FROM decision_packs) ORDER BY pack LIMIT ?"""
PACK_OF = "SELECT body FROM decision_packs WHERE pack = ? AND container_id = ?"
NEWEST_PACK = "SELECT coalesce(max(pack), 0) FROM decision_packs"
PACKS_WITHIN = """
    SELECT pack, events FROM decision_packs WHERE pack >= ? AND pack <= ? ORDER BY pack DESC LIMIT ?"""
EDGE_SPANS = "SELECT first_pack, last_pack FROM decision_edge_spans ORDER BY first_pack"
REMOVE_EDGE_SPANS = "DELETE FROM decision_edge_spans"
ADD_EDGE_SPAN = "INSERT INTO decision_edge_spans (first_pack, last_pack) VALUES (?, ?)"
ADD_EDGE_IDS = """
    INSERT INTO decision_edge_ids (edge_key, pack)
    SELECT value, ?1 FROM json_each(?2) WHERE true
    ON CONFLICT (edge_key) DO NOTHING"""
SWEEP_EDGE_IDS = """
    DELETE FROM decision_edge_ids WHERE edge_key IN (
        SELECT edge_key FROM decision_edge_ids WHERE edge_key < ? ORDER BY edge_key LIMIT ?)"""
PACKS_OF_EDGE = """
    SELECT e.pack FROM json_each(?) a CROSS JOIN decision_edge_ids e WHERE e.edge_key = a.value"""
SPAN_ON_RECORD = """
    SELECT min((SELECT min(p.last_ms) FROM decision_packs p WHERE p.container_id = c.id)),
        max((SELECT max(p.last_ms) FROM decision_packs p WHERE p.container_id = c.id))
    FROM containers c"""
