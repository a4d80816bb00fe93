-- Limits, counters, reservations, decisions and feedback.

-- All limits that offers have had, one row for each definition: a limit with a changed definition gets another
-- row and another counter. `most`: the maximum count; NULL while the limit is not in force.
CREATE TABLE cap_limits (
    counter      INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL REFERENCES containers (id),
    offer        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    definition   BLOB    NOT NULL,  -- JSON: all attributes except the maximum
    most         BIGINT,
    anchor_us    BIGINT,            -- time when the offer was first approved with it
    start_us     BIGINT,            -- start and end of the offer
    end_us       BIGINT,
    changed      BIGINT  NOT NULL   -- increases with every change of any row
);
CREATE INDEX cap_limits_by_offer ON cap_limits (container_id, offer);
CREATE INDEX cap_limits_by_change ON cap_limits (changed);

-- Revision of each container that the limits above were taken from.
CREATE TABLE cap_revisions (
    container_id TEXT   NOT NULL PRIMARY KEY,
    revision     BIGINT NOT NULL
);

-- Global counters. `window_us`: start of the period; 0 without a repeat. From `expires_us` on, a counter counts
-- as 0.
CREATE TABLE cap_totals (
    counter    BIGINT NOT NULL,
    placement  TEXT   NOT NULL,     -- empty: all placements together
    window_us  BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    expires_us BIGINT,
    moved      BIGINT NOT NULL,     -- increases with every change of any row
    PRIMARY KEY (counter, placement, window_us)
) WITHOUT ROWID;
CREATE INDEX cap_totals_by_move ON cap_totals (moved);

-- Counters of single subjects. `owner`: key of a customer; for an identity without a customer, the negated number
-- of its space, and `identity` contains it.
CREATE TABLE cap_counters (
    owner      BIGINT NOT NULL,
    identity   TEXT   NOT NULL,
    counter    BIGINT NOT NULL,
    placement  TEXT   NOT NULL,
    window_us  BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    expires_us BIGINT,
    PRIMARY KEY (owner, identity, counter, placement, window_us)
) WITHOUT ROWID;
CREATE INDEX cap_counters_by_end ON cap_counters (expires_us) WHERE expires_us IS NOT NULL;

CREATE TABLE cap_reservations (
    container_id TEXT    NOT NULL,
    decision     TEXT    NOT NULL,
    owner        BIGINT  NOT NULL,
    identity     TEXT    NOT NULL,
    given        BLOB    NOT NULL,  -- JSON list of [is global, counter, placement, window_us, count]
    expires_us   BIGINT  NOT NULL,
    state        TEXT    NOT NULL,
    PRIMARY KEY (container_id, decision)
) WITHOUT ROWID;
CREATE INDEX cap_reservations_by_end ON cap_reservations (state, expires_us);
CREATE INDEX cap_reservations_by_owner ON cap_reservations (owner, identity);

-- Packs of decision events of one container. `first_ms`, `last_ms`: earliest and latest time in the ids of the
-- decisions, in milliseconds.
CREATE TABLE decision_packs (
    pack         INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL,
    first_ms     BIGINT  NOT NULL,
    last_ms      BIGINT  NOT NULL,
    events       BIGINT  NOT NULL,
    body         BLOB    NOT NULL
);
CREATE INDEX decision_packs_by_time ON decision_packs (container_id, last_ms);

-- Index of the edge proposition ids of scopes, built from the packs when an id is reported without its token.
CREATE TABLE decision_edge_ids (
    edge_key INTEGER NOT NULL PRIMARY KEY,  -- day of the decision, then bits of the id
    pack     BIGINT  NOT NULL
);

-- Ranges of the numbers of indexed packs.
CREATE TABLE decision_edge_spans (
    first_pack INTEGER NOT NULL PRIMARY KEY,
    last_pack  BIGINT  NOT NULL
);

-- Feedback events with their attribution. `missed` is 1 if a report of the event could not be attributed.
CREATE TABLE feedback_events (
    number       INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL,
    event_id     TEXT    NOT NULL,
    received_us  BIGINT  NOT NULL,
    missed       INTEGER NOT NULL,
    body         BLOB    NOT NULL,  -- MessagePack, compressed
    UNIQUE (container_id, event_id)
);
CREATE INDEX feedback_events_missed ON feedback_events (container_id, number) WHERE missed = 1;
