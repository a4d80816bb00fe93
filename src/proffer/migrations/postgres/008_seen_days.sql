-- Days on which a server ran, by its clock. Equivalent to sqlite/008_seen_days.sql.
CREATE TABLE seen_days (day BIGINT NOT NULL PRIMARY KEY);
INSERT INTO seen_days (day) SELECT DISTINCT last_ms / 86400000 FROM decision_packs;
