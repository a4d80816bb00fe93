"""Cross-process write lock of a SQLite database, using a file beside it.

SQLite's busy handler backs off with growing sleeps and is unfair; waiting on the lock file keeps the
longest wait short. The lock of a killed process is released by the kernel.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MIN_SLEEP_S = 0.0002
_MAX_SLEEP_S = 0.002


class WriteLock:
    """Lock for writing to the database at `path`; all writers must use it."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._patience_s = patience_s
        self._file = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; raise TimeoutError when it is not acquired in time."""
        self._acquire()
        try:
            yield
        finally:
            self.release()

    def try_acquire(self) -> bool:
        """Acquire the lock without waiting; return whether it was acquired. See `release`."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        """Release the lock."""
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _acquire(self) -> None:
        deadline = time.monotonic() + self._patience_s
        sleep_s = _MIN_SLEEP_S
        while True:
            # Polled, since a blocking flock has no timeout.
            if self.try_acquire():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"other processes have been writing to it for {self._patience_s:g} s")
            time.sleep(sleep_s)
            sleep_s = min(sleep_s * 1.5, _MAX_SLEEP_S)

    def close(self) -> None:
        """Close the lock file; it is not deleted, since others use it."""
        os.close(self._file)
