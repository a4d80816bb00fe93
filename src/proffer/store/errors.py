"""Errors a store may raise; services turn them into messages for callers."""

from proffer.errors import Stale, Unavailable


class StaleRevision(Stale):
    """The container has a newer revision than the write was checked against: read and retry."""

    default_code = "stale-revision"


class StoreUnavailable(Unavailable):
    """The database is unavailable: disk full, locked too long, gone. Nothing was written."""

    default_code = "store-unavailable"


class SchemaMismatch(Unavailable):
    """The database was migrated by an older or newer Proffer."""

    default_code = "schema-mismatch"
