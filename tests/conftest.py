"""For all tests: the event loop, how hard Hypothesis tries, and what a failure shows.

In CI every run tries the same examples; elsewhere new ones.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "proffer",
    deadline=None,  # machines are shared; time is measured in bench/, never here
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
    print_blob=True,
)
settings.load_profile("proffer")

# Failures inside a contract show the values that were compared. Said here, before any test imports one.
pytest.register_assert_rewrite("proffer.testing")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run the async tests on asyncio, which the server runs on."""
    return "asyncio"
