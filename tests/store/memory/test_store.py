"""The dictionaries keep the promise."""

from pathlib import Path

from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.testing.caps_contract import CapsContract
from proffer.testing.counting_contract import CountingContract
from proffer.testing.customer_contract import CustomerContract
from proffer.testing.feedback_contract import FeedbackContract
from proffer.testing.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    async def open(self, tmp_path: Path) -> Store:
        return MemoryStore()


class TestMemoryCaps(CapsContract):
    async def open(self, tmp_path: Path) -> Store:
        return MemoryStore()


class TestMemoryCounting(CountingContract):
    async def open(self, tmp_path: Path) -> Store:
        return MemoryStore()


class TestMemoryCustomers(CustomerContract):
    async def open(self, tmp_path: Path) -> Store:
        return MemoryStore()


class TestMemoryFeedback(FeedbackContract):
    async def open(self, tmp_path: Path) -> Store:
        return MemoryStore()
