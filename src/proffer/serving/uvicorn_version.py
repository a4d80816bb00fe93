"""The range of uvicorn versions the server runs on.

The connection and request classes extend uvicorn's HTTP/1.1 protocol, which is not public: a version outside
this range may start and then fail every request. `pyproject.toml` states the same range.
"""

from importlib.metadata import version

from proffer.errors import Unavailable

MINIMUM = (0, 45)
BELOW = (0, 55)


def check_uvicorn_version() -> None:
    """Raise `Unavailable` if the installed uvicorn is outside the supported range."""
    installed = version("uvicorn")
    if not MINIMUM <= tuple(int(part) for part in installed.split(".")[:2]) < BELOW:
        supported = f"uvicorn>={MINIMUM[0]}.{MINIMUM[1]},<{BELOW[0]}.{BELOW[1]}"
        raise Unavailable(
            f"uvicorn {installed} is installed, but the server needs `{supported}`; "
            f"install it: `pip install '{supported}'`",
            code="uvicorn-version",
        )
