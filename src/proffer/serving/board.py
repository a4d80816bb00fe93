"""What processes of one server know of each other: a page of shared memory with a row for each worker.

A worker writes its own row, and reads the others' when it decides whose turn it is to accept; the
parent reads all. Every cell is one aligned eight-byte word, so a reader never meets half of one.
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


_CELLS = 4
_BEAT, _STATE, _CONNECTIONS, _REQUESTS = range(_CELLS)


class Board:
    """Rows of numbers that forked processes share."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._cells = memoryview(mmap.mmap(-1, rows * _CELLS * 8)).cast("q")

    def row(self, index: int) -> "Row":
        return Row(self, index)

    def read(self, index: int, cell: int) -> int:
        return self._cells[index * _CELLS + cell]

    def write(self, index: int, cell: int, value: int) -> None:
        self._cells[index * _CELLS + cell] = value

    def least_connections(self, but: int) -> int | None:
        """The fewest connections that another worker has which takes new ones; None where there is no other."""
        counts = [
            self.read(other, _CONNECTIONS)
            for other in range(self.rows)
            if other != but and self.read(other, _STATE) == State.READY
        ]
        return min(counts, default=None)


class Row:
    """One worker's row."""

    def __init__(self, board: Board, index: int) -> None:
        self.board = board
        self.index = index

    def clear(self) -> None:
        """As it is before a worker has it, alive from now on."""
        for cell in range(_CELLS):
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

    def may_accept(self) -> bool:
        """False where another worker has fewer connections and so should take the next."""
        least = self.board.least_connections(self.index)
        return least is None or self.connections <= least
