"""Settings: from options, then the environment, then the defaults."""

from pathlib import Path
from typing import Any

import pytest

from proffer.config import Settings, load_settings, sqlite_path
from proffer.errors import Invalid

READ: list[tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"port": 1}, {}, {"port": 1}),
    ({}, {"PROFFER_PORT": "2"}, {"port": 2}),
    ({"port": 1}, {"PROFFER_PORT": "2"}, {"port": 1}),
    ({"port": None}, {"PROFFER_PORT": " 2 "}, {"port": 2}),
    ({"port": 0}, {"PROFFER_PORT": "2"}, {"port": 0}),
    ({}, {"PROFFER_HOST": "0.0.0.0"}, {"host": "0.0.0.0"}),  # noqa: S104 - only read
    ({}, {"PROFFER_DATABASE": "sqlite:////a/b.db"}, {"database": "sqlite:////a/b.db"}),
    ({}, {"PROFFER_DEV": "true"}, {"dev": True}),
    ({}, {"PROFFER_DEV": "1"}, {"dev": True}),
    ({}, {"PROFFER_DEV": "On"}, {"dev": True}),
    ({}, {"PROFFER_DEV": "no"}, {"dev": False}),
    ({}, {"PROFFER_DEV": ""}, {"dev": False}),
    ({"dev": False}, {"PROFFER_DEV": "yes"}, {"dev": False}),
    ({}, {"PROFFER_ACCESS_LOG": "yes"}, {"access_log": True}),
    ({"dev": True, "host": "::1"}, {}, {"dev": True, "host": "::1"}),
    ({"dev": True, "host": "localhost"}, {}, {"dev": True, "host": "localhost"}),
    ({}, {"PROFFER_WORKERS": "4"}, {"workers": 4}),
    (
        {"tls_cert": "a.pem"},
        {"PROFFER_TLS_KEY": "b.pem"},
        {"tls_cert": "a.pem", "tls_key": "b.pem"},
    ),
    ({}, {"PROFFER_UNKNOWN": "x", "PORT": "7"}, {}),
]


@pytest.mark.parametrize(("options", "environment", "expected"), READ)
def test_settings_are_read(options: dict[str, Any], environment: dict[str, str], expected: dict[str, Any]) -> None:
    """What is not given has its default; an option wins over a variable."""
    assert load_settings(options, environment) == Settings(**expected)


REFUSED: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({}, {"PROFFER_PORT": "http"}, "PROFFER_PORT"),
    ({}, {"PROFFER_PORT": ""}, "PROFFER_PORT"),
    ({"port": 65_536}, {}, "port"),
    ({"port": -1}, {}, "port"),
    ({}, {"PROFFER_DEV": "perhaps"}, "PROFFER_DEV"),
    ({"dev": True, "host": "0.0.0.0"}, {}, "loopback"),  # noqa: S104 - refused
    ({"dev": True, "host": ""}, {}, "loopback"),
    ({"dev": True, "host": "example.com"}, {}, "loopback"),
    ({"host": "192.168.0.1"}, {"PROFFER_DEV": "1"}, "loopback"),
    ({"workers": 0}, {}, "workers"),
    ({"unrecorded": "perhaps"}, {}, "unrecorded"),
    ({}, {"PROFFER_LOG_FORMAT": "xml"}, "log_format"),
    ({}, {"PROFFER_MAX_REQUESTS": "many"}, "PROFFER_MAX_REQUESTS"),
    ({"tls_key": "key.pem"}, {}, "tls_key"),
    ({"database": "proffer.db"}, {}, "database"),
    ({"database": "sqlite:///"}, {}, "database"),
    ({"database": "postgresql://host"}, {}, "database"),
    ({"database": "mysql://a/b"}, {}, "database"),
    ({"database_connections": 0}, {}, "database_connections"),
]


@pytest.mark.parametrize(("options", "environment", "word"), REFUSED)
def test_a_setting_that_cannot_be_used_is_named(
    options: dict[str, Any], environment: dict[str, str], word: str
) -> None:
    """With what would do instead; dev mode where others can reach it is one of them."""
    with pytest.raises(Invalid) as error:
        load_settings(options, environment)
    assert word in error.value.detail
    assert error.value.violations[0].help


def test_a_database_url_is_relative_or_absolute() -> None:
    """Three slashes and four."""
    assert sqlite_path("sqlite:///a/b.db") == Path("a/b.db")
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")


def test_a_database_of_postgresql_is_no_file() -> None:
    """Its URL is left to the driver; the name of the database must be there."""
    for url in ("postgresql://me:secret@host:5432/proffer", "postgres:///proffer?host=/run"):
        assert sqlite_path(url) is None


def test_a_refused_url_does_not_show_its_password() -> None:
    """Messages end in logs."""
    with pytest.raises(Invalid) as error:
        load_settings({"database": "mysql://me:secret@host/proffer"}, {})
    assert "secret" not in error.value.detail
    assert "mysql://me:…@host" in error.value.detail
