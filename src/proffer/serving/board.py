"""The table of workers in shared memory: a row per worker.

A worker writes its own row. The parent reads all rows, and so does a worker that is asked for metrics. Every
cell is one aligned eight-byte word, so a reader never sees a half-written one.
"""

import mmap
import time
from enum import IntEnum


class State(IntEnum):
    """Where a worker stands in its life."""

    ABSENT = 0
    STARTING = 1
    READY = 2
    LEAVING = 3


_CELLS = 6
_BEAT, _STATE, _CONNECTIONS, _REQUESTS, _EDITION, _LENGTH = range(_CELLS)
_TRIES = 100
_ROOM = 4 << 20
"""Bytes for what a worker publishes; memory is used only as far as it is written."""


class Board:
    """Rows of numbers that forked processes share."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * _CELLS * 8)).cast("q")
        self._rooms = memoryview(mmap.mmap(-1, rows * _ROOM))

    def row(self, index: int) -> "Row":
        return Row(self, index)

    def read(self, index: int, cell: int) -> int:
        return self._cells[index * _CELLS + cell]

    def write(self, index: int, cell: int, value: int) -> None:
        self._cells[index * _CELLS + cell] = value

    def room(self, index: int) -> memoryview:
        """Where a worker's publication stands; it outlives the worker."""
        return self._rooms[index * _ROOM : (index + 1) * _ROOM]

    def ready(self) -> int:
        """How many workers serve."""
        return sum(self.read(index, _STATE) == State.READY for index in range(self.rows))


class Row:
    """One worker's row."""

    def __init__(self, board: Board, index: int) -> None:
        self.board = board
        self.index = index

    def clear(self) -> None:
        """As it is before a worker has it, alive from now on."""
        for cell in (_STATE, _CONNECTIONS, _REQUESTS):
            self.board.write(self.index, cell, 0)
        self.beat()

    def beat(self) -> None:
        """Say: my event loop turns."""
        self.board.write(self.index, _BEAT, time.monotonic_ns())

    def silent_s(self) -> float:
        """Seconds since the last beat."""
        return (time.monotonic_ns() - self.board.read(self.index, _BEAT)) / 1e9

    @property
    def state(self) -> State:
        return State(self.board.read(self.index, _STATE))

    @state.setter
    def state(self, state: State) -> None:
        self.board.write(self.index, _STATE, state)

    def tell(self, connections: int, requests: int) -> None:
        """How much this worker has in hand."""
        self.board.write(self.index, _CONNECTIONS, connections)
        self.board.write(self.index, _REQUESTS, requests)

    @property
    def connections(self) -> int:
        return self.board.read(self.index, _CONNECTIONS)

    @property
    def requests(self) -> int:
        return self.board.read(self.index, _REQUESTS)

    def publish(self, text: bytes) -> None:
        """Show this to the other processes in place of what was shown before; too much of it is not shown."""
        if len(text) > _ROOM:
            return
        edition = self.board.read(self.index, _EDITION)
        self.board.write(self.index, _EDITION, edition + 1 if edition % 2 == 0 else edition)
        self.board.room(self.index)[: len(text)] = text
        self.board.write(self.index, _LENGTH, len(text))
        self.board.write(self.index, _EDITION, (edition | 1) + 1)

    def published(self) -> bytes | None:
        """What was shown last; None where it is being replaced just now (an odd edition), or never was."""
        for _ in range(_TRIES):
            edition = self.board.read(self.index, _EDITION)
            text = bytes(self.board.room(self.index)[: self.board.read(self.index, _LENGTH)])
            if edition % 2 == 0 and self.board.read(self.index, _EDITION) == edition:
                return text or None
        return None
