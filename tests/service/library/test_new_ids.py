"""Objects under other ids."""

from itertools import count
from typing import Any

import pytest

from proffer.app import DEV_CONTAINER
from proffer.errors import Invalid
from proffer.model.catalog import Catalog
from proffer.service.library.load import Entry, sort_by_dependency
from proffer.service.library.new_ids import remap_ids
from support.containers import access_to, open_services, tag


def run(entries: list[Entry], catalog: Catalog, known: dict[str, str]) -> list[Any]:
    numbers = count(0xA0)
    made = remap_ids(entries, catalog, lambda kind: f"xcore:{kind}:{next(numbers):x}", known)
    return [document for _, _, document in made]


def test_every_mention_follows() -> None:
    """In either spelling, wherever it stands; ids of others and texts that only contain one stay."""
    content = {
        "tags": [{"@id": "xcore:tag:1", "xdm:name": "a"}, {"xdm:name": "b"}],
        "collections": [
            {
                "@id": "dps:offer-filter:2",
                "xdm:name": "c",
                "xdm:ids": ["dps:tag:1", "xcore:tag:9"],
                "strange": {"of": [{"x": "xcore:offer-filter:2"}], "text": "see xcore:tag:1"},
            }
        ],
    }
    known: dict[str, str] = {}
    made = run(sort_by_dependency([("$", content)]), Catalog(DEV_CONTAINER), known)

    assert made == [
        {"@id": "xcore:tag:a0", "xdm:name": "a"},
        {"xdm:name": "b"},
        {
            "@id": "xcore:offer-filter:a1",
            "xdm:name": "c",
            "xdm:ids": ["xcore:tag:a0", "xcore:tag:9"],
            "strange": {"of": [{"x": "xcore:offer-filter:a1"}], "text": "see xcore:tag:1"},
        },
    ]
    assert known == {"xcore:tag:1": "xcore:tag:a0", "xcore:offer-filter:2": "xcore:offer-filter:a1"}


async def test_what_is_there_keeps_its_id() -> None:
    """An object of the same kind and name is the same; what was found out for one file holds for the next."""
    async with open_services() as services:
        held = (await tag(services, "a")).id
        catalog = access_to(services).state.catalog
    known: dict[str, str] = {}
    first = sort_by_dependency([("$", {"tags": [{"@id": "xcore:tag:1", "xdm:name": "a"}]})])
    assert run(first, catalog, known) == [{"@id": held, "xdm:name": "a"}]
    second = sort_by_dependency([("$", {"collections": [{"xdm:name": "c", "xdm:ids": ["xcore:tag:1"]}]})])
    assert run(second, catalog, known) == [{"xdm:name": "c", "xdm:ids": [held]}]


def test_twins_are_refused_together() -> None:
    """Each object that a name does not tell from another is listed."""
    tags = [{"@id": f"xcore:tag:{at}", "xdm:name": "a"} for at in (1, 2, 3)]
    with pytest.raises(Invalid) as refused:
        run(sort_by_dependency([("$", {"tags": tags})]), Catalog(DEV_CONTAINER), {})

    assert [one.path for one in refused.value.violations] == [
        "$.tags[1].xdm:name",
        "$.tags[2].xdm:name",
    ]
