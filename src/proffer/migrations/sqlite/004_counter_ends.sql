-- Ends of counters.

-- JSON: what a limit has besides its definition, such as the ends that were moved, with the new ones.
ALTER TABLE cap_limits ADD COLUMN terms BLOB;

-- A counter of a repeating limit ends with its period; until now it ended with its offer if that was earlier. A month
-- counts as 31 days: an end after the period changes no count.
CREATE TABLE cap_periods (counter INTEGER NOT NULL PRIMARY KEY, longest_us BIGINT NOT NULL);
INSERT INTO cap_periods (counter, longest_us)
    SELECT counter, 86400000000 * json_extract(definition, '$[6][1]')
        * CASE json_extract(definition, '$[6][0]') WHEN 'day' THEN 1 WHEN 'week' THEN 7 ELSE 31 END
    FROM (SELECT counter, CAST(definition AS TEXT) AS definition FROM cap_limits)
    WHERE json_type(definition, '$[6]') = 'array';
UPDATE cap_totals
    SET expires_us = window_us + (SELECT p.longest_us FROM cap_periods p WHERE p.counter = cap_totals.counter)
    WHERE window_us <> 0
        AND expires_us < window_us + (SELECT p.longest_us FROM cap_periods p WHERE p.counter = cap_totals.counter);
UPDATE cap_counters
    SET expires_us = window_us + (SELECT p.longest_us FROM cap_periods p WHERE p.counter = cap_counters.counter)
    WHERE window_us <> 0
        AND expires_us < window_us + (SELECT p.longest_us FROM cap_periods p WHERE p.counter = cap_counters.counter);
DROP TABLE cap_periods;
