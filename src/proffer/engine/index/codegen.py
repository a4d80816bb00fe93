"""Code generator: compiles all field indexes of a pool into one straight-line function.

The tables are parameters of the generated source, so indexes of the same structure share code.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from proffer.engine.index.bitset import Bits
from proffer.engine.index.predicate_table import FieldIndex
from proffer.pql import Environment
from proffer.pql.compile import RULE_NAMESPACE, load
from proffer.pql.run.to_python import is_boolean, values_to_python
from proffer.pql.syntax.nodes import Node, ReadAs, Reading, without_reading
from proffer.pql.values.reading import reader_of

FieldLookup = Callable[[Environment, Bits], Bits]
"""Filters offers by all field indexes. Raises errors of subjects, and `UnindexableValue`."""

_MAX_SOURCES = 500_000
"""Maximum length of the sources whose functions are kept between builds, in characters."""


@dataclass(frozen=True, slots=True, eq=False)
class CompositeIndex:
    """Index of predicates of one shape on the same subjects.

    It has one field index per subject, which has a name. Offers without such a predicate pass.
    """

    shape: str
    names: tuple[str, ...]
    subjects: tuple[Node, ...]
    field_indexes: tuple[FieldIndex, ...]


def generate_lookup(composites: Sequence[CompositeIndex]) -> FieldLookup | None:
    """Generate one lookup function for all composite indexes; None if there are none."""
    if not composites:
        return None
    tables: dict[str, Any] = {"place": bisect_right}
    subjects: list[Node] = []
    lookups: list[str] = []  # `{}` stands for the value
    shapes: list[str] = []
    for composite in composites:
        shapes.append(_renumber(len(subjects), composite.shape))
        for subject, field_index in zip(composite.subjects, composite.field_indexes, strict=True):
            lookups.append(_lookup_expression(len(subjects), subject, field_index, tables))
            # Tables hold the usual values as they are; the lookup of the others reads them.
            subjects.append(without_reading(subject))

    def statements(names: Sequence[str]) -> list[str]:
        def substitute(match: re.Match[str]) -> str:
            number = int(match[1])
            return lookups[number].replace("{}", names[number])

        return [
            *(f"p &= {re.sub('#([0-9]+)#', substitute, shape)}" for shape in shapes),
            "return p",
        ]

    inner = values_to_python(subjects, ("p",), statements)
    source = f"def rule({', '.join(tables)}):\n{indent(inner, '    ')}    return rule\n"
    lookup: FieldLookup = _compile_source(source)(*tables.values())
    return lookup


def _renumber(first: int, shape: str) -> str:
    return re.sub(r"\d+", lambda match: f"#{first + int(match[0])}#", shape)


_functions: dict[str, Callable[..., Any]] = {}


def _compile_source(source: str) -> Callable[..., Any]:
    """Return the function of this source; the newest ones are kept."""
    function = _functions.pop(source, None) or load(source, "index", RULE_NAMESPACE)
    _functions[source] = function
    excess = sum(map(len, _functions)) - _MAX_SOURCES
    while excess > 0 and len(_functions) > 1:
        oldest = next(iter(_functions))
        del _functions[oldest]
        excess -= len(oldest)
    return function


def _lookup_expression(number: int, subject: Node, field_index: FieldIndex, tables: dict[str, Any]) -> str:
    """Return the expression that looks a value up; its tables are added to `tables`."""

    def table(prefix: str, content: Any) -> str:
        name = f"{prefix}{number}"
        tables[name] = content
        return name

    if is_boolean(subject):
        return f"({table('yes', field_index.lookup(True))} if {{}} else {table('no', field_index.lookup(False))})"
    reading = subject.reading if isinstance(subject, ReadAs) else None
    fallback = f"{table('slot', _reading_lookup(field_index, reading))}({{}})"
    fallback = f"{table('null', field_index.lookup(None))} if {{}} is None else {fallback}"
    if reading in (Reading.BOOLEAN, Reading.LOGICAL, Reading.TRUTH):
        yes, no = table("yes", field_index.lookup(True)), table("no", field_index.lookup(False))
        return f"({yes} if {{}} is True else {no} if {{}} is False else {fallback})"
    texts, numbers = field_index.by_text(), field_index.by_integer()
    if texts is None and numbers is None:
        return f"({fallback})"
    if texts is not None:
        bits_by_text, default_bits = texts
        lookup = f"{table('text', bits_by_text.get)}({{}}, {table('other', default_bits)})"
        return f"({lookup} if {{}}.__class__ is str else {fallback})"
    assert numbers is not None
    begins, rows = numbers
    lookup = f"{table('rows', rows)}[place({table('begins', begins)}, {{}})]"
    return f"({lookup} if {{}}.__class__ is int else {fallback})"


def _reading_lookup(field_index: FieldIndex, reading: Reading | None) -> Callable[[Any], Bits]:
    """Return the lookup of values that are first read as their subject says."""
    if reading is None:
        return field_index.lookup
    read = reader_of(reading)
    return lambda value: field_index.lookup(read(value))
