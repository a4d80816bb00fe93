"""SQL for feedback; keys of several rows are passed as JSON."""

EXISTING_EVENTS = """
    SELECT f.container_id, f.event_id FROM json_each(?) a CROSS JOIN feedback_events f
    WHERE f.container_id = json_extract(a.value, '$[0]')
        AND f.event_id = json_extract(a.value, '$[1]')"""
ADD = """
    INSERT INTO feedback_events (container_id, event_id, received_us, missed, body)
    VALUES (?, ?, ?, ?, ?)"""
AFTER = """
    SELECT number, body FROM feedback_events
    WHERE container_id = ? AND number > ? ORDER BY number LIMIT ?"""
UNATTRIBUTED_AFTER = """
    SELECT number, body FROM feedback_events
    WHERE container_id = ? AND number > ? AND missed = 1 ORDER BY number LIMIT ?"""

# The newest row stays, so that numbers are never reused. The oldest events have the lowest numbers: only
# these are checked.
REMOVE_OLD = """
    DELETE FROM feedback_events WHERE number IN (
        SELECT number FROM (SELECT number, received_us FROM feedback_events ORDER BY number LIMIT ?) o
        WHERE received_us < ? AND number < (SELECT max(number) FROM feedback_events))"""
SIZE = "SELECT coalesce(sum(length(body)), 0) FROM feedback_events"
SIZES = "SELECT number, length(body) FROM feedback_events ORDER BY number"
REMOVE_THROUGH = """
    DELETE FROM feedback_events WHERE number IN (
        SELECT number FROM feedback_events
        WHERE number <= ? AND number < (SELECT max(number) FROM feedback_events)
        ORDER BY number LIMIT ?)"""

PUT_PACK = "UPDATE decision_packs SET body = ? WHERE pack = ?"
BODY = "SELECT body FROM feedback_events WHERE number = ? AND container_id = ?"
PUT_ATTRIBUTED = "UPDATE feedback_events SET body = ?, missed = ? WHERE number = ?"
PUT_BODY = "UPDATE feedback_events SET body = ? WHERE number = ?"
OLDEST_PACK = """
    SELECT first_ms FROM decision_packs WHERE container_id = ? ORDER BY last_ms LIMIT 1"""
