-- Limits, counters, reservations, the decisions on record, and what came back of them.

-- Every limit an offer has had, one row for what it counts: a limit that comes to count something else
-- has another row, and another counter. `most` is NULL while it is not in force.
CREATE TABLE cap_limits (
    counter      INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL REFERENCES containers (id),
    offer        TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    definition   BLOB    NOT NULL,  -- JSON: all but how far it may count
    most         BIGINT,
    anchor_us    BIGINT,            -- when the offer was first approved with it
    start_us     BIGINT,            -- dates of the offer
    end_us       BIGINT,
    changed      BIGINT  NOT NULL   -- rises with every change of any row
);
CREATE INDEX cap_limits_by_offer ON cap_limits (container_id, offer);
CREATE INDEX cap_limits_by_change ON cap_limits (changed);

-- The revision of each container whose limits are those above.
CREATE TABLE cap_revisions (
    container_id TEXT   NOT NULL PRIMARY KEY,
    revision     BIGINT NOT NULL
);

-- Counters of everybody together. `window_us` is the first moment of the period counted, 0 where there
-- is none. A counter past `expires_us` counts 0.
CREATE TABLE cap_totals (
    counter    BIGINT NOT NULL,
    placement  TEXT   NOT NULL,     -- empty: all placements together
    window_us  BIGINT NOT NULL,
    count      BIGINT NOT NULL,
    expires_us BIGINT,
    moved      BIGINT NOT NULL,     -- rises with every change of any row
    PRIMARY KEY (counter, placement, window_us)
) WITHOUT ROWID;
CREATE INDEX cap_totals_by_move ON cap_totals (moved);

-- Counters of single people: of a customer by key, or of the identity named, under the number of its
-- space below 0.
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
    given        BLOB    NOT NULL,  -- JSON: [in total or not, counter, placement, window, count]
    expires_us   BIGINT  NOT NULL,
    state        TEXT    NOT NULL,
    PRIMARY KEY (container_id, decision)
) WITHOUT ROWID;
CREATE INDEX cap_reservations_by_end ON cap_reservations (state, expires_us);
CREATE INDEX cap_reservations_by_owner ON cap_reservations (owner, identity);

-- The decisions of one commit in one container. Ids say the moment of a decision, in milliseconds:
-- those of a pack lie between `first_ms` and `last_ms`.
CREATE TABLE decision_packs (
    pack         INTEGER NOT NULL PRIMARY KEY,
    container_id TEXT    NOT NULL,
    first_ms     BIGINT  NOT NULL,
    last_ms      BIGINT  NOT NULL,
    events       BIGINT  NOT NULL,
    body         BLOB    NOT NULL
);
CREATE INDEX decision_packs_by_time ON decision_packs (container_id, last_ms);

-- An index of the ids that the edge gave for single scopes, made from the packs when an id comes without its
-- token.
CREATE TABLE decision_edge_ids (
    edge_key INTEGER NOT NULL PRIMARY KEY,  -- bits of the id under the day of its decision
    pack     BIGINT  NOT NULL
);

-- The packs that are in it, by number.
CREATE TABLE decision_edge_spans (
    first_pack INTEGER NOT NULL PRIMARY KEY,
    last_pack  BIGINT  NOT NULL
);

-- Events of feedback, with what they are about. `missed` is 1 where something that an event reports on could
-- not be attributed.
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
