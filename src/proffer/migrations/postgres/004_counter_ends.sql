-- Ends of counters. Equivalent to sqlite/004_counter_ends.sql.

-- JSON: what a limit has besides its definition, such as the ends that were moved, with the new ones.
ALTER TABLE cap_limits ADD COLUMN terms BYTEA;

-- A counter of a repeating limit ends with its period; until now it ended with its offer if that was earlier. A month
-- counts as 31 days: an end after the period changes no count.
CREATE TABLE cap_periods (counter BIGINT NOT NULL PRIMARY KEY, longest_us BIGINT NOT NULL);
INSERT INTO cap_periods (counter, longest_us)
    SELECT counter, 86400000000 * (definition -> 6 ->> 1)::bigint
        * CASE definition -> 6 ->> 0 WHEN 'day' THEN 1 WHEN 'week' THEN 7 ELSE 31 END
    FROM (SELECT counter, convert_from(definition, 'UTF8')::jsonb AS definition FROM cap_limits) limits
    WHERE jsonb_typeof(definition -> 6) = 'array';
UPDATE cap_totals t SET expires_us = t.window_us + p.longest_us FROM cap_periods p
    WHERE p.counter = t.counter AND t.window_us <> 0 AND t.expires_us < t.window_us + p.longest_us;
UPDATE cap_counters c SET expires_us = c.window_us + p.longest_us FROM cap_periods p
    WHERE p.counter = c.counter AND c.window_us <> 0 AND c.expires_us < c.window_us + p.longest_us;
DROP TABLE cap_periods;
