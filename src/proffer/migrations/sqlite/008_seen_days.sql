-- Days on which a server ran, by its clock, in days since 1970-01-01: a clock that jumps ahead for minutes adds one or two
-- of them, so it cannot make old data look due for deletion.
CREATE TABLE seen_days (day BIGINT NOT NULL PRIMARY KEY) WITHOUT ROWID;
INSERT INTO seen_days (day) SELECT DISTINCT last_ms / 86400000 FROM decision_packs;
