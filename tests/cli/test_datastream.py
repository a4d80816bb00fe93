"""`proffer datastream`: create, list and remove, and what to paste into pages and apps."""

import json
from pathlib import Path

import pytest

from cli.commands import Proffer
from support.server import sample_library

DECISION = "xcore:offer-activity:17f7e67d3d4d9004"
HERO = "xcore:offer-placement:124e0be5699743d3"
OWN = "6f2b1a53-0d8e-4c0f-9b52-8a3f2f4a7c11"


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'p.db'}"


def test_a_datastream_comes_and_goes(proffer: Proffer, database: str) -> None:
    """Under an id of ours or one's own; listed with its origins; removed, and its id is not given out again."""
    ran = proffer("datastream", "create", "The shop", "--database", database)
    assert (ran.code, ran.err) == (0, "")
    made = ran.out.strip()
    settings = ("--origin", "https://www.shop.example", "--authenticated", "--keep-events")
    ran = proffer(
        *("datastream", "create", "The app", "--id", OWN, *settings, "--no-offers"),
        *("--database", database, "--json"),
    )
    app = json.loads(ran.out)
    assert app["id"] == OWN
    assert app["allowedOrigins"] == ["https://www.shop.example"]
    assert (app["access"], app["keepEvents"], app["offers"]) == ("authenticated", True, False)

    listed = proffer("datastream", "list", "--database", database).out
    assert listed.splitlines() == [
        f"{made}  The shop (any origin)",
        f"{OWN}  The app (https://www.shop.example)",
    ]
    assert proffer("datastream", "remove", OWN, "--database", database).out == f"removed {OWN}\n"
    left = json.loads(proffer("datastream", "list", "--database", database, "--json").out)
    assert [one["id"] for one in left] == [made]
    for arguments in (("remove", OWN), ("create", "Again", "--id", OWN)):
        ran = proffer("datastream", *arguments, "--database", database)
        assert ran.code == 1
        assert ran.err.startswith("proffer: ")


def test_wrong_settings_are_told(proffer: Proffer, database: str) -> None:
    ran = proffer("datastream", "create", "X", "--origin", "www.shop.example", "--database", database)

    assert ran.code == 1
    assert "allowedOrigins" in ran.err


def test_snippets_can_be_pasted(proffer: Proffer, database: str) -> None:
    """Of one placement or all, in the form that is asked for."""
    assert proffer("library", "import", sample_library(), "--database", database).code == 0
    asked = ("datastream", "snippet", DECISION, "--database", database, "--domain", "edge.test")
    web = proffer(*asked, "--placement", HERO)
    assert web.code == 0, web.err
    assert '"edge.test"' in web.out
    assert web.out.count("<script>") == 2
    assert "place.innerHTML" in web.out
    scopes = proffer(*asked, "--kind", "scope").out.split()
    assert len(scopes) == 2
    assert scopes[0] in web.out
    found = json.loads(proffer(*asked, "--kind", "json").out)
    assert [one["scope"] for one in found] == scopes
    android, ios = (proffer(*asked, "--kind", kind).out for kind in ("android", "ios"))
    assert f'DecisionScope("{DECISION}", "{HERO}")' in android
    assert f'activityId: "{DECISION}"' in ios
    assert proffer(*asked, "--kind", "fax").code == 2
    assert proffer(*asked, "--placement", "xcore:offer-placement:1").code == 1
    nobody = ("datastream", "snippet", "xcore:offer-activity:1", "--database", database)
    assert proffer(*nobody).code == 1
