"""Deployment files and pages: files parse; settings, probe paths and metrics exist."""

import configparser
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from starlette.routing import Route

from proffer.config import Settings, load_settings
from proffer.metrics import METRICS
from support.server import server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OPERATIONS = ROOT / "docs" / "operations"
FILES = sorted(one for one in DEPLOY.rglob("*") if one.is_file())
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
_SUFFIXES = re.compile(r"_(?:bucket|sum|count)$")


def documents(path: Path) -> list[Any]:
    return list(YAML(typ="safe").load_all(path.read_text(encoding="utf-8")))


def everything_in(value: Any) -> Iterator[Any]:
    """Yield every value in a document, at any depth."""
    yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inside:
        yield from everything_in(one)


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: path.name)
def test_every_setting_named_exists(path: Path) -> None:
    """Every name that begins with PROFFER_ is the variable of a setting."""
    known = {f"PROFFER_{field.name.upper()}" for field in fields(Settings)}
    named = set(re.findall(r"PROFFER_[A-Z_]*[A-Z]", path.read_text(encoding="utf-8")))

    assert named - known - {"PROFFER_NAME"} == set()


def test_the_settings_of_each_file_are_accepted() -> None:
    """The settings of each file are valid together, with values within bounds."""
    container = dict(re.findall(r"(PROFFER_[A-Z_]+)=(\S+)", (DEPLOY / "container" / "Containerfile").read_text()))
    unit = dict(re.findall(r"^Environment=(PROFFER_[A-Z_]+)=(\S+)", unit_text("proffer.service"), re.MULTILINE))
    (compose,) = documents(DEPLOY / "container" / "compose.yaml")
    composed = dict(compose["services"]["proffer"]["environment"])
    deployment = documents(DEPLOY / "kubernetes" / "proffer.yaml")[0]
    (pod,) = deployment["spec"]["template"]["spec"]["containers"]
    kubernetes = {one["name"]: one["value"] for one in pod["env"] if "value" in one}
    for given in (container, unit, composed, kubernetes):
        assert given
        given.pop("PROFFER_DATABASE", None)
        assert load_settings({}, given) != Settings()


def unit_text(name: str) -> str:
    return (DEPLOY / "systemd" / name).read_text(encoding="utf-8")


def test_probes_ask_paths_that_are_served() -> None:
    """Kubernetes probes and the image's health check request existing paths."""
    with server() as client:
        served = {one.path for one in client.app.routes if isinstance(one, Route)}  # type: ignore[attr-defined]
    probed = {
        one["path"]
        for document in documents(DEPLOY / "kubernetes" / "proffer.yaml")
        for one in everything_in(document)
        if isinstance(one, dict) and "path" in one and "port" in one
    }
    image = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8")
    probed |= {f"/{one}" for one in re.findall(r"127\.0\.0\.1:8700/(\w+)", image)}

    assert {"/healthz", "/readyz"} <= probed
    assert probed <= served


def test_time_to_stop_is_long_enough() -> None:
    """A stop may take the drain delay, shutdown timeout and ten seconds.

    The ten seconds are for the store.
    """
    usual = Settings().shutdown_timeout + 10
    deployment = documents(DEPLOY / "kubernetes" / "proffer.yaml")[0]
    pod = deployment["spec"]["template"]["spec"]
    drain = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > usual + int(drain["PROFFER_DRAIN_DELAY"])
    (compose,) = documents(DEPLOY / "container" / "compose.yaml")
    proffer = compose["services"]["proffer"]
    grace = int(proffer["stop_grace_period"].removesuffix("s"))
    assert grace > usual + int(proffer["environment"]["PROFFER_DRAIN_DELAY"])
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)", unit_text("proffer.service"), re.MULTILINE)
    assert int(stop) > usual


@pytest.mark.parametrize("name", ["proffer.service", "proffer.socket"])
def test_units_are_in_order(name: str, tmp_path: Path) -> None:
    """The units parse, and systemd, where installed, reports nothing."""
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit_text(name))
    assert {"Unit", "Install"} < set(parsed.sections())
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        return
    program = tmp_path / "proffer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for one in ("proffer.service", "proffer.socket"):
        text = unit_text(one).replace("/opt/proffer/bin/proffer", str(program))
        (tmp_path / one).write_text(text)
    ran = subprocess.run(
        [verifier, "verify", "--man=no", str(tmp_path / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in ran.stderr.splitlines() if "proffer" in line] == []


def queries() -> dict[str, str]:
    """Return every query of dashboard and alerts, by panel or alert."""
    dashboard = json.loads((OPERATIONS / "grafana-dashboard.json").read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    (alerts,) = documents(OPERATIONS / "prometheus-alerts.yaml")
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            found[rule["alert"]] = rule["expr"]
    return found


def test_the_dashboard_and_alerts_name_only_meters_that_exist() -> None:
    """Queries use existing metrics and labels; every metric is queried."""
    shown: set[str] = set()
    for where, query in queries().items():
        named = {_SUFFIXES.sub("", one) for one in re.findall(r"\bproffer_\w+", query)}
        assert named <= METRICS.keys(), where
        shown |= named
        labels = {"le", "instance", "job"} | {one for name in named for one in METRICS[name].labels}
        used = set(re.findall(r"(\w+)\s*(?:=~|!=|=)\s*\"", query))
        for listed in re.findall(r"\bby \(([^)]*)\)", query):
            used |= {one.strip() for one in listed.split(",")}
        assert used <= labels, where
        assert query.count("(") == query.count(")"), where
    assert shown == METRICS.keys()
