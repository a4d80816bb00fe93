"""A PostgreSQL of a test's own, to be stopped, killed and started."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import postgres_keeper as keeper
from support.postgres import join, leave, url_of


class OwnPostgres:
    """One cluster; gone with the process that asked for it."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self._settings = settings
        self._started: list[subprocess.Popen[bytes]] = []
        join(folder, tuple(f"{name}={value}" for name, value in settings.items()))

    @property
    def url(self) -> str:
        return url_of(self.folder)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts connections and finishes in order, SIGQUIT is a crash."""
        keeper.stop(self.folder, how)
        for started in self._started:
            started.wait(60)

    def start(self) -> None:
        """Start it anew."""
        self._started.append(keeper.launch(self.folder, self._settings))


@contextmanager
def own_postgres(**settings: str) -> Iterator[OwnPostgres]:
    """A cluster for one test; stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="proffer-own-"))
    server = OwnPostgres(folder, settings)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        leave(folder)
