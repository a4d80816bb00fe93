"""The SQLite file keeps the promise, and gives back what it kept."""

from pathlib import Path

from proffer.store.ports import Store
from proffer.store.sqlite import SqliteStore
from proffer.testing.store_contract import StoreContract


class TestSqliteStore(StoreContract):
    async def open(self, tmp_path: Path) -> Store:
        return await SqliteStore.open(tmp_path / "proffer.db")
