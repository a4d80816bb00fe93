-- Blanks around the id of an identity do not count any more.
-- Equivalent to sqlite/006_untrimmed_identities.sql.

-- Identities of customers that are stored with blanks: they are corrected when the database is opened.
CREATE TABLE untrimmed_identities (
    space     INTEGER NOT NULL,
    namespace TEXT COLLATE "C"    NOT NULL,
    id        TEXT COLLATE "C"    NOT NULL,
    PRIMARY KEY (space, namespace, id)
);
CREATE TABLE id_blanks (characters TEXT COLLATE "C" NOT NULL);
INSERT INTO id_blanks VALUES (E'\u0009\u000a\u000b\u000c\u000d\u001c\u001d\u001e\u001f\u0020\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff');
INSERT INTO untrimmed_identities (space, namespace, id)
    SELECT space, namespace, id FROM customer_identities
    WHERE btrim(id, (SELECT characters FROM id_blanks)) NOT IN (id, '');

-- Counters and reservations of identities without a customer: of the identity without blanks, or of its customer.
CREATE TABLE trimmed_counters AS
    SELECT owner, identity, namespace, id, namespace || ':' || id AS trimmed
    FROM (
        SELECT DISTINCT owner, identity, substr(identity, 1, strpos(identity, ':') - 1) AS namespace,
            btrim(substr(identity, strpos(identity, ':') + 1), (SELECT characters FROM id_blanks)) AS id
        FROM (
            SELECT owner, identity FROM cap_counters WHERE owner < 0
            UNION SELECT owner, identity FROM cap_reservations WHERE owner < 0
        ) AS subjects
    ) AS parts
    WHERE id <> '' AND namespace || ':' || id <> identity;
CREATE INDEX trimmed_counters_by_subject ON trimmed_counters (owner, identity);
CREATE TABLE moved_counters AS
    SELECT coalesce(h.customer, t.owner) AS owner,
        CASE WHEN h.customer IS NULL THEN t.trimmed ELSE '' END AS identity,
        c.counter, c.placement, c.window_us, sum(c.count) AS count,
        CASE WHEN count(*) = count(c.expires_us) THEN max(c.expires_us) END AS expires_us
    FROM trimmed_counters t
    JOIN cap_counters c ON c.owner = t.owner AND c.identity = t.identity
    LEFT JOIN customer_identities h ON h.space = -t.owner AND h.namespace = t.namespace AND h.id = t.id
    GROUP BY 1, 2, 3, 4, 5;
DELETE FROM cap_counters
    WHERE owner < 0 AND EXISTS (
        SELECT 1 FROM trimmed_counters t WHERE t.owner = cap_counters.owner AND t.identity = cap_counters.identity);
INSERT INTO cap_counters (owner, identity, counter, placement, window_us, count, expires_us)
    SELECT owner, identity, counter, placement, window_us, count, expires_us FROM moved_counters WHERE true
    ON CONFLICT (owner, identity, counter, placement, window_us) DO UPDATE SET
        count = cap_counters.count + excluded.count,
        expires_us = CASE
            WHEN cap_counters.expires_us > excluded.expires_us THEN cap_counters.expires_us
            WHEN cap_counters.expires_us IS NOT NULL THEN excluded.expires_us
        END;
UPDATE cap_reservations
    SET owner = coalesce((
            SELECT h.customer FROM trimmed_counters t
            JOIN customer_identities h ON h.space = -t.owner AND h.namespace = t.namespace AND h.id = t.id
            WHERE t.owner = cap_reservations.owner AND t.identity = cap_reservations.identity), owner),
        identity = (
            SELECT CASE WHEN h.customer IS NULL THEN t.trimmed ELSE '' END FROM trimmed_counters t
            LEFT JOIN customer_identities h ON h.space = -t.owner AND h.namespace = t.namespace AND h.id = t.id
            WHERE t.owner = cap_reservations.owner AND t.identity = cap_reservations.identity)
    WHERE owner < 0 AND EXISTS (
        SELECT 1 FROM trimmed_counters t
        WHERE t.owner = cap_reservations.owner AND t.identity = cap_reservations.identity);
DROP TABLE moved_counters;
DROP TABLE trimmed_counters;
DROP TABLE id_blanks;
