"""A PostgreSQL server for one test, which can stop, kill and start it."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import postgres_keeper as keeper
from support.postgres import join, leave, url_of


class OwnPostgres:
    """A cluster that is removed when this process ends."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self._settings = settings
        self._started: list[subprocess.Popen[bytes]] = []
        join(folder, tuple(f"{name}={value}" for name, value in settings.items()))

    @property
    def url(self) -> str:
        return url_of(self.folder)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT is a fast shutdown, SIGQUIT a crash."""
        keeper.stop(self.folder, how)
        for started in self._started:
            started.wait(60)

    def start(self) -> None:
        """Start it again."""
        self._started.append(keeper.launch(self.folder, self._settings))


@contextmanager
def own_postgres(**settings: str) -> Iterator[OwnPostgres]:
    """Run a cluster for one test."""
    folder = Path(tempfile.mkdtemp(prefix="proffer-own-"))
    server = OwnPostgres(folder, settings)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        leave(folder)
