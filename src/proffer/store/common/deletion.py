"""Deletion of many rows in short writes."""

from collections.abc import Awaitable, Callable

ROWS_TOGETHER = 2000
"""Maximum number of counter, reservation and index rows deleted in one write."""


async def delete_in_batches(delete_batch: Callable[[], Awaitable[int]], size: int) -> int:
    """Delete batches of at most `size` rows until none is left.

    `delete_batch` deletes one and returns its number of rows. Returns the total.
    """
    total, deleted = 0, size
    while deleted >= size:
        deleted = await delete_batch()
        total += deleted
    return total
