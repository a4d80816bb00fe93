"""Generate the PQL reference page from the declarations of functions and limits.

`python tools/pql_page.py` writes `docs/reference/pql.md`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proffer.pql.functions.registry import Function, ValueKind
from proffer.pql.functions.stdlib import FAMILIES, STDLIB
from proffer.pql.syntax import limits
from proffer.pql.syntax.limits import RuleKind
from proffer.pql.syntax.tokens import UNITS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "pql.md"

_INTRODUCTION = """\
# The rule language

<!-- Written by `python tools/pql_page.py`; edit the declarations instead. -->

A rule is an expression over a customer profile that is true or false. A ranking formula gives a number.

```pql
person.age >= 18 and homeAddress.countryCode in ["DE", "AT"] and not loyalty.tier.equals("none", false)
```

## Names

A bare name is a field of the profile; the prefix `profile.` is optional. A rule can also read
`xEvent`, the experience events or the request's one event; a formula can read `offer`;
`@{type}` is the context data of the request under that type. `_tenant.field` is an ordinary path.
Put reserved words and names with special characters in backticks. `xdm:name` and `name` are the same field.

A path through an array gives the flat array of its items' fields: `orders.items.sku` is every SKU.

## Missing values

| In | A missing or null value |
| --- | --- |
| a path | makes the rest of the path null |
| comparisons, `in`, `notIn`, `like`, text tests | makes the test false; `x != 1` is not the opposite of `x = 1` |
| `not` | `not` of a false test is true: `not (x = 1)` is true when `x` is missing |
| `and` `or` `if` | counts as false |
| arithmetic | makes the result null; so does division by zero |
| `count` and `sum` | is skipped; without values they are 0, and `average`, `min` and `max` are null |

As a condition, null, an empty array and an empty object are false, a Boolean has its own value, the text `false` in any
letter case is false, and everything else is true. A rule that can only be a number, a text or a date, or that is the
same for everybody without being written as `true` or `false`, is [refused](errors.md#pqlcondition).

## Operators, highest precedence first

| Operators | Meaning |
| --- | --- |
| `a.b` `a.f(x)` `a[condition]` | field; function, also written `f(a, x)`; items for which the condition is true |
| `-` | negation of a number |
| `*` `/` `%` | `/` is never rounded; `%` has the sign of its left side |
| `+` `-` | integers stay integers within 64 bits |
| `=` `!=` `<` `<=` `>` `>=` | by the types of the sides, see below |
| `in` `notIn` | whether an array contains the value |
| `like` | `%` matches any characters, `_` exactly one; the whole text must match |
| `occurs` | see below |
| `not` or `!` | |
| `and` | |
| `or` | |

Inside `[…]` and in arguments of functions such as `map` and `sum`, a bare name is a field of the item, and
`^name` is a field of the next outer level. `item => expression` names the item explicitly.

## Types

The type of a field is the one that its schema declares: a loaded schema (`proffer schema load`), else the part of XDM
that Proffer knows. A comparison reads the field's value as that type, and the other side too, unless that has a
declared type of its own. Fields without a declared type, and characteristics of offers, are what they hold.

| Declared type | Reads |
| --- | --- |
| number, integer | numbers, and texts that are one number as in JSON: `"900"`, `"7.0"`; not `"007"`, `"+7"` or `""` |
| text | texts; numbers and Booleans as they are written |
| Boolean | Booleans, 1 and 0, and the texts `true` and `false` in any letter case |
| date, date-time | texts that are dates or date-times in ISO 8601 |

| Without a declared type | Compared |
| --- | --- |
| number and text | as numbers, if the text is one number as in JSON |
| Boolean and text | as Booleans, if the text is `true` or `false` in any letter case |
| date and text | as times, if the text is a date or date-time |
| date and date-time | as times; the date is the start of its day in the zone of the evaluation |
| text and text | as texts, case-sensitively; as times, to the microsecond, if both are date-times with a zone |

All other pairs, and a value that cannot be read as its type, are not comparable: `!=` and `notIn` are true, every other
comparison is false. A missing value makes all of them false. Booleans have no order. Both orders of the sides,
`a < b` and `b > a`, agree.

A literal is converted to the declared type. A number beside a text field is compared as it is spelled for `=`, `!=`
and `in`: `postalCode = 94105` is true for `"94105"`, `postalCode = 7030` is false for `"07030"`. Its order is that of
numbers.

Because a date is the start of its day, `end <= date(2026, 12, 24)` excludes nearly all of the 24th. Write
`end < date(2026, 12, 25)`, or `end occurs on date(2026, 12, 24)`.

Arithmetic, `sum`, `average`, `min`, `max`, `topN`, `bottomN` and `distinct` read texts as numbers only where the field
is declared a number. Elsewhere use `stringToNumber`: `stringToNumber(offer.characteristics.weight) * 2`.

## Longer forms

| Form | Value |
| --- | --- |
| `if(test, a, b)` | `a` or `b`; only the chosen side is evaluated |
| `let name = value in body` | the body, with the name bound to the value |
| `exists x from array where test` | whether there is such an item; also `some`, `forall`, `all`, `none`, `one` |
| `select x from array where test` | the items, as an array; as a condition, true if there are any |
| `sum x.price over x from array where test` | also `count`, `average`, `min`, `max` |
| `chain(events, timestamp, [A: WHAT(test) WHEN(time), …])` | whether the steps happened in this order; at most six |

Where an array is expected, an object is treated as an array of one and any other value as empty.

## Time

`now` is the time of the evaluation; `today`, `yesterday`, `tomorrow` and `date(2024, 12, 31)` are days in its zone.
Weeks start on Monday. Times in a profile are texts in ISO 8601; without a zone,
they are in the zone of the evaluation, which is UTC.

A time is an instant, and compares as one. Its hour, day and text depend on a zone. `toTimeZone(t, "Asia/Tokyo")` gives
a time its own zone, and a text with an offset has one: `2026-11-30T23:30:00-05:00` is shown as 23:30. Arithmetic keeps
it. Times in UTC, with `Z` or `+00:00`, and `now` are read in the zone of the evaluation. Days, months and years between
two times are counted by the clocks of the start's own zone, or else of the end's.

| Test | True if the time is |
| --- | --- |
| `t occurs <= 3 days before now` | not after now, and at most three days back; `after` and `from` look ahead |
| `t occurs before now`, `t occurs after today` | before or after the time, or the start of the day |
| `t occurs between a and b` | between both, inclusive; if `b` is a day, the whole day is included |
| `t occurs on date(2024, 12, 31)`, `t occurs today` | within that day |
| `t occurs last month` | within that calendar period; also `this` and `next` |

A month or year is complete at the same day and time; if the month has no such day, at the start of the next month.
So somebody born on 29 February is 18 on 1 March, for `age`, for the differences in months and years, and for
`birthDate occurs >= 18 years before now`. Adding and subtracting take the last day of the month instead:
31 March minus one month is 28 February, which `occurs <= 1 month before` includes.
"""


def reference_page() -> str:
    """Return the whole page as Markdown."""
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield ("Units: " + ", ".join(f"`{plural}`" for plural in UNITS.values()) + "; the singular is accepted too.\n")
    yield from _limits()
    yield "## Functions\n"
    for family in FAMILIES:
        yield f"### {family}\n"
        for function in STDLIB.values():
            if function.family == family:
                yield from _function(function)


def _limits() -> Iterator[str]:
    yield "## Limits\n"
    yield "| What | At most |"
    yield "| --- | --- |"
    rule, formula = (limits.MAX_BYTES[kind] // 1024 for kind in (RuleKind.RULE, RuleKind.FORMULA))
    yield f"| size of a rule, of a formula | {rule} KB, {formula} KB |"
    yield f"| closing brackets `)` | {limits.MAX_CLOSING_BRACKETS} |"
    yield f"| nested loops | {limits.MAX_LOOPS} |"
    yield f"| profile attributes, context attributes | {limits.MAX_PROFILE_READS}, {limits.MAX_CONTEXT_READS} |"
    yield f"| items visited per evaluation | {limits.MAX_VISITS:,}; beyond it a rule is false and a formula a fault |"
    yield f"| characters of a text returned by a function | {limits.MAX_TEXT:,}; a longer one is null |"
    yield ""


def _function(function: Function) -> Iterator[str]:
    yield f"#### `{function.name}`\n"
    yield f"`{function.signature}` → {function.returns.value}\n"
    yield f"{function.doc}\n"
    yield "```pql"
    yield from (f"{text}  →  {to_literal(expected)}" for text, expected in function.examples.items())
    yield "```\n"
    if function.row_by_row_reason and ValueKind.ITEM not in function.parameter_kinds:
        yield f"In batches: {function.row_by_row_reason}.\n"


def to_literal(value: Any) -> str:
    """Return a result as a literal of the language."""
    if isinstance(value, list):
        return f"[{', '.join(map(to_literal, value))}]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
