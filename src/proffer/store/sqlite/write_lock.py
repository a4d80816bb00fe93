"""Taking turns: one process writes to a file at a time, the others wait outside the database.

SQLite's own waiting sleeps longer and longer and serves whoever wakes at the right moment; waiting on
the lock of a side file keeps the longest wait short. A killed process loses its turn with its life.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FIRST_NAP_S = 0.0002
_LONGEST_NAP_S = 0.002


class Turns:
    """The right to write to the database at `path`, shared with everyone who asks for it in this way."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._patience_s = patience_s
        self._file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the turn; raise TimeoutError when it is not had in time."""
        self._wait()
        try:
            yield
        finally:
            self.give_back()

    def try_take(self) -> bool:
        """Have the turn at once, or not at all; who has it gives it back with `give_back`."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        """Let the next one write."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _wait(self) -> None:
        until = time.monotonic() + self._patience_s
        nap = _FIRST_NAP_S
        while True:
            # Asked without blocking, since a blocked flock cannot be given up after a while.
            if self.try_take():
                return
            if time.monotonic() > until:
                raise TimeoutError(f"others have been writing to it for {self._patience_s:g} s")
            time.sleep(nap)
            nap = min(nap * 1.5, _LONGEST_NAP_S)

    def close(self) -> None:
        """Give the side file back; it stays where it is for the others."""
        os.close(self._file)
