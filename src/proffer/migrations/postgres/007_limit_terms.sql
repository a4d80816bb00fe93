-- Equivalent to sqlite/007_limit_terms.sql.
-- Limits have dates of their own, and thresholds: the limits of all offers are read anew when a server opens the library.
UPDATE cap_revisions SET revision = 0;
