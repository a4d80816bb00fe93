"""Library documents with full names are read with the names of the repository."""

from typing import Any

import pytest

from proffer.model.long_names import ADDRESS, with_short_names

DATES = {"xdm:startDate": "2024-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("document", "short"),
    [
        ({"xdm:name": "A"}, {"xdm:name": "A"}),
        ({f"{ADDRESS}/name": "A", "@id": "x"}, {"@id": "x", "xdm:name": "A"}),
        ({f"{ADDRESS}/name": "A", "xdm:name": "B"}, {"xdm:name": "B"}),
        ({ADDRESS: {"xdm:name": "A", "channelID": "web"}}, {"xdm:name": "A", "xdm:channel": "web"}),
        ({f"{ADDRESS}/startTime": "t", f"{ADDRESS}/endTime": "u"}, {"xdm:startDate": "t", "xdm:endDate": "u"}),
        (
            {f"{ADDRESS}/calendarConstraints": DATES, f"{ADDRESS}/profileConstraints": {f"{ADDRESS}/rules": ["r"]}},
            {"xdm:selectionConstraint": {**DATES, "xdm:rules": ["r"]}},
        ),
        (
            {f"{ADDRESS}/criteria": [{f"{ADDRESS}/placements": ["p"], "xdm:optionSelection": {"xdm:filter": "f"}}]},
            {"xdm:criteria": [{"xdm:placements": ["p"], "xdm:optionSelection": {"xdm:filter": "f"}}]},
        ),
    ],
)
def test_full_names_become_short(document: dict[str, Any], short: dict[str, Any]) -> None:
    """A short name has precedence; both constraints of an offer become one; values keep their own names."""
    assert with_short_names(document) == short
