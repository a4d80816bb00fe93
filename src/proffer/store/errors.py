"""Errors a store may raise; services turn them into messages for callers."""

from proffer.errors import Stale, Unavailable


class StaleRevision(Stale):
    """The container has a newer revision than the write was checked against: read and retry."""

    default_code = "stale-revision"


class StoreUnavailable(Unavailable):
    """The database is unavailable: disk full, locked too long, gone. Nothing was written."""

    default_code = "store-unavailable"


class WriteDelayed(StoreUnavailable):
    """The write waited too long for its turn. `stalled`: nothing else was written in that time either."""

    def __init__(self, wait_s: float, *, stalled: bool) -> None:
        super().__init__(f"the database has been busy with other writes for {wait_s:g} s")
        self.stalled = stalled


class SchemaMismatch(Unavailable):
    """The database was migrated by an older or newer Proffer."""

    default_code = "schema-mismatch"
