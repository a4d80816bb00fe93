"""Configuration of all tests: event loop, Hypothesis and assertion rewriting.

In CI every run uses the same examples; elsewhere new ones.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "proffer",
    deadline=None,  # machines are shared; time is measured only in bench/
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("proffer")

# Failed assertions in contracts show the compared values. Must run before a contract is imported.
pytest.register_assert_rewrite("proffer.testing")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run the async tests on asyncio, which the server runs on."""
    return "asyncio"
