"""The rejects file of an import: one line per rejected row."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from proffer.errors import Unavailable
from proffer.service.imports.rows import Reject


class RejectsFile:
    """Rejects file, truncated to its size at the last checkpoint; removed at the end if empty."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        with ExitStack() as stack:
            try:
                mode: Literal["r+b", "w+b"] = "r+b" if path.exists() else "w+b"
                self._file = stack.enter_context(path.open(mode, buffering=0))
                end = self._file.seek(0, os.SEEK_END)
                if end > size:
                    self._file.truncate(size)
                    self._file.seek(size)
                else:  # it may have been deleted or truncated meanwhile
                    self._size = end
            except OSError as error:
                raise self._failed(error) from None
            stack.pop_all()

    def write(self, rejects: Iterable[Reject]) -> int:
        """Append rejects; return the file size. Raises `Unavailable` if it cannot be written."""
        text = memoryview(b"".join(reject.encode() for reject in rejects))
        self._size += len(text)
        try:
            while text:
                text = text[self._file.write(text) :]
        except OSError as error:
            raise self._failed(error) from None
        return self._size

    def _failed(self, error: OSError) -> Unavailable:
        return Unavailable(f"cannot write the rejects to `{self._path}`: {error.strerror}", code="file-not-written")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._size == 0:
            self._path.unlink(missing_ok=True)
