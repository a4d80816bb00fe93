"""The standard library: all functions of the language."""

from dataclasses import replace

from proffer.pql.functions import compare, content, dates, encodings, lists, maps, numbers, text, versions
from proffer.pql.functions.registry import Function

FAMILIES = {
    "Comparison": compare.FUNCTIONS,
    "Text": text.FUNCTIONS,
    "Arrays": lists.FUNCTIONS,
    "Maps and audiences": maps.FUNCTIONS,
    "Numbers": numbers.FUNCTIONS,
    "Versions": versions.FUNCTIONS,
    "Dates and times": dates.FUNCTIONS,
    "Encodings and URLs": encodings.FUNCTIONS,
    "For content": content.FUNCTIONS,
}
"""Family → functions, in the order of the reference page."""

STDLIB: dict[str, Function] = {
    declared.name: replace(declared, family=family) for family, members in FAMILIES.items() for declared in members
}


def is_method(name: str) -> bool:
    """Return whether the canonical call is `x.name()` rather than `name(x)`."""
    return name in STDLIB and STDLIB[name].method
