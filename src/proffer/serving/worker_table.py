"""The table of workers in shared memory: a slot per worker.

A worker writes its own slot. The parent reads all slots, and so does a worker that is asked for metrics. Every
cell is one aligned eight-byte word, so a reader never sees a half-written one.
"""

import mmap
import time
from enum import IntEnum


class State(IntEnum):
    """The lifecycle state of a worker."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    LEAVING = 3


_CELLS = 6
_HEARTBEAT, _STATE, _CONNECTIONS, _REQUESTS, _VERSION, _LENGTH = range(_CELLS)
_READ_ATTEMPTS = 100
_MAX_PUBLICATION = 4 << 20
"""Bytes reserved for what a worker publishes; memory is used only as far as it is written."""


class WorkerTable:
    """Slots of integers that forked processes share."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._cells = memoryview(mmap.mmap(-1, size * _CELLS * 8)).cast("q")
        self._publications = memoryview(mmap.mmap(-1, size * _MAX_PUBLICATION))

    def slot(self, index: int) -> "WorkerSlot":
        return WorkerSlot(self, index)

    def read(self, index: int, cell: int) -> int:
        return self._cells[index * _CELLS + cell]

    def write(self, index: int, cell: int, value: int) -> None:
        self._cells[index * _CELLS + cell] = value

    def publication(self, index: int) -> memoryview:
        """Return the memory that a worker publishes in; it outlives the worker."""
        return self._publications[index * _MAX_PUBLICATION : (index + 1) * _MAX_PUBLICATION]

    def ready_count(self) -> int:
        """Return the number of workers that serve."""
        return sum(self.read(index, _STATE) == State.READY for index in range(self.size))


class WorkerSlot:
    """The slot of one worker."""

    def __init__(self, table: WorkerTable, index: int) -> None:
        self.table = table
        self.index = index

    def reset(self) -> None:
        """Clear the slot before a worker gets it. Sets the heartbeat to now."""
        for cell in (_STATE, _CONNECTIONS, _REQUESTS):
            self.table.write(self.index, cell, 0)
        self.heartbeat()

    def heartbeat(self) -> None:
        """Record that the worker's event loop runs."""
        self.table.write(self.index, _HEARTBEAT, time.monotonic_ns())

    def seconds_since_heartbeat(self) -> float:
        return (time.monotonic_ns() - self.table.read(self.index, _HEARTBEAT)) / 1e9

    @property
    def state(self) -> State:
        return State(self.table.read(self.index, _STATE))

    @state.setter
    def state(self, state: State) -> None:
        self.table.write(self.index, _STATE, state)

    def set_load(self, connections: int, requests: int) -> None:
        """Record the numbers of open connections and of requests in progress."""
        self.table.write(self.index, _CONNECTIONS, connections)
        self.table.write(self.index, _REQUESTS, requests)

    @property
    def connections(self) -> int:
        return self.table.read(self.index, _CONNECTIONS)

    @property
    def requests(self) -> int:
        return self.table.read(self.index, _REQUESTS)

    def publish(self, content: bytes) -> None:
        """Replace what other processes read; content beyond the reserved memory is not published.

        The version is odd while the content changes (a sequence lock).
        """
        if len(content) > _MAX_PUBLICATION:
            return
        version = self.table.read(self.index, _VERSION)
        self.table.write(self.index, _VERSION, version | 1)
        self.table.publication(self.index)[: len(content)] = content
        self.table.write(self.index, _LENGTH, len(content))
        self.table.write(self.index, _VERSION, (version | 1) + 1)

    def published(self) -> bytes | None:
        """Return what was published last; None if nothing was, or if it is being replaced."""
        for _ in range(_READ_ATTEMPTS):
            version = self.table.read(self.index, _VERSION)
            length = self.table.read(self.index, _LENGTH)
            content = bytes(self.table.publication(self.index)[:length])
            if version % 2 == 0 and self.table.read(self.index, _VERSION) == version:
                return content or None
        return None
