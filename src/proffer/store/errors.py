"""What a store may raise besides bugs. Services turn these into words for a caller."""

from proffer.errors import Stale, Unavailable


class StaleRevision(Stale):
    """The container has moved since the revision the write was checked against: read again and retry."""

    default_code = "stale-revision"


class StoreUnavailable(Unavailable):
    """The database cannot be used now: disk full, locked for too long, gone. Nothing was written."""

    default_code = "store-unavailable"


class SchemaMismatch(Unavailable):
    """The database was migrated by an older or a newer Proffer than this one."""

    default_code = "schema-mismatch"
