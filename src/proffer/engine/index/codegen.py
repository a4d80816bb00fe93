"""Code generator: compiles all field indexes of a pool into one straight-line function.

The tables are parameters of the generated source, so indexes of the same structure share code.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from textwrap import indent
from typing import Any

from proffer.engine.index.bitset import Bits
from proffer.engine.index.predicate_table import Slot
from proffer.pql import Environment
from proffer.pql.compile import RULE_SPACE, load
from proffer.pql.run.to_python import is_boolean, values_to_python
from proffer.pql.syntax.nodes import Node

Passing = Callable[[Environment, Bits], Bits]
"""Filters offers by all field indexes. Raises errors of subjects, and `UnindexableValue`."""

_KEPT = 4_096
"""Maximum number of compiled functions kept between builds."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Index of predicates of one shape on the same subjects.

    It has one field index per subject. Offers without such a predicate pass.
    """

    shape: str
    subjects: tuple[Node, ...]
    slots: tuple[Slot, ...]


def passing_of(layers: Sequence[Layer]) -> Passing | None:
    """Generate one lookup function for all composite indexes; None if there are none."""
    if not layers:
        return None
    tables: dict[str, Any] = {"place": bisect_right}
    subjects: list[Node] = []
    looks: list[str] = []  # `{}` stands for the value
    shapes: list[str] = []
    for layer in layers:
        shapes.append(_counted_from(len(subjects), layer.shape))
        for subject, slot in zip(layer.subjects, layer.slots, strict=True):
            looks.append(_look(len(subjects), subject, slot, tables))
            subjects.append(subject)

    def statements(names: Sequence[str]) -> list[str]:
        def looked_up(found: re.Match[str]) -> str:
            number = int(found[1])
            return looks[number].replace("{}", names[number])

        return [*(f"p &= {re.sub('#([0-9]+)#', looked_up, one)}" for one in shapes), "return p"]

    inner = values_to_python(subjects, ("p",), statements)
    source = f"def rule({', '.join(tables)}):\n{indent(inner, '    ')}    return rule\n"
    made: Passing = _maker(source)(*tables.values())
    return made


def _counted_from(first: int, shape: str) -> str:
    return re.sub(r"\d+", lambda found: f"#{first + int(found[0])}#", shape)


@lru_cache(maxsize=_KEPT)
def _maker(source: str) -> Callable[..., Any]:
    return load(source, "index", RULE_SPACE)


def _look(number: int, subject: Node, slot: Slot, tables: dict[str, Any]) -> str:
    """Return the expression that looks a value up; its tables are added to `tables`."""

    def table(what: str, content: Any) -> str:
        name = f"{what}{number}"
        tables[name] = content
        return name

    if is_boolean(subject):
        return (
            f"({table('yes', slot.passing(True))} if {{}} else {table('no', slot.passing(False))})"
        )
    others = f"{table('slot', slot.passing)}({{}})"
    texts, numbers = slot.by_text(), slot.by_integer()
    if texts is None and numbers is None:
        return others
    others = f"{table('null', slot.passing(None))} if {{}} is None else {others}"
    if texts is not None:
        known, rest = texts
        look = f"{table('text', known.get)}({{}}, {table('other', rest)})"
        return f"({look} if {{}}.__class__ is str else {others})"
    assert numbers is not None
    begins, rows = numbers
    look = f"{table('rows', rows)}[place({table('begins', begins)}, {{}})]"
    return f"({look} if {{}}.__class__ is int else {others})"
