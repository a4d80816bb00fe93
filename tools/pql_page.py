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

A rule is one expression over a customer profile. It is true or false; a ranking formula is a number.

```pql
person.age >= 18 and homeAddress.countryCode in ["DE", "AT"] and not loyalty.tier.equals("none", false)
```

## Names

A bare name is a field of the profile; `profile.` in front of it says the same. A rule may also name
`xEvent`, the experience events or the request's one event; a formula may name `offer`; and
`@{type}` is the context data that the request sent under that type. `_tenant.field` is an ordinary path.
Write a name that is a reserved word or no word at all in backticks. `xdm:name` and `name` are the same field.

A path through an array is the flat array of its items' fields: `orders.items.sku` is every SKU.

## What a missing field means

| In | a missing or null value |
| --- | --- |
| a path | is null, and so is every step after it |
| comparisons, `in`, `notIn`, `like`, text tests | makes the test false; `x != 1` is not the opposite of `x = 1` |
| `not` | `not` of a false test is true: `not (x = 1)` is true when `x` is missing |
| `and` `or` `if` | counts as false |
| arithmetic | makes the result null; so does division by zero |
| `count` and `sum` | is skipped; of nothing at all they are 0, `average`, `min` and `max` are null |

In a Boolean place null is false, an empty array or object is false, a Boolean is itself, and anything
else is true.

## Operators, from tightest to loosest

| Operators | Meaning |
| --- | --- |
| `a.b` `a.f(x)` `a[condition]` | field; function, also written `f(a, x)`; items for which the condition is true |
| `-` | the negative of a number |
| `*` `/` `%` | `/` is never rounded; `%` has the sign of its left side |
| `+` `-` | integers stay integers within 64 bits |
| `=` `!=` `<` `<=` `>` `>=` | the right side becomes the type of the left side; if it cannot, only `!=` is true |
| `in` `notIn` | is the value equal to an element of an array |
| `like` | `%` is any run of characters, `_` exactly one; the whole text must match |
| `occurs` | see below |
| `not` or `!` | |
| `and` | |
| `or` | |

Inside `[…]` and the expressions of `map`, `sum` and the like, a bare name is a field of the item, and
`^name` a field one level further out. `item => expression` names the item instead.

## Longer forms

| Form | Value |
| --- | --- |
| `if(test, a, b)` | only the chosen side is looked at |
| `let name = value in body` | the body, in which the name is the value |
| `exists x from array where test` | is there one; also `some`, `forall`, `all`, `none`, `one` |
| `select x from array where test` | the items, as an array; true in a Boolean place if there is one |
| `sum x.price over x from array where test` | also `count`, `average`, `min`, `max` |
| `chain(events, timestamp, [A: WHAT(test) WHEN(time), …])` | did the steps happen in this order; at most six |

Where an array is expected, an object is an array of one and anything else is empty.

## Time

`now` is the moment of the evaluation; `today`, `yesterday` and `tomorrow` are days in its zone, as is
`date(2024, 12, 31)`. Weeks start on Monday. A time of a profile is a text in ISO 8601; without a zone
it is in the zone of the evaluation.

| Test | True when the time is |
| --- | --- |
| `t occurs <= 3 days before now` | not after now, and at most three days back; `after` and `from` look ahead |
| `t occurs before now`, `t occurs after today` | on that side of the moment, or of the start of the day |
| `t occurs between a and b` | from one to the other, both included; a day as `b` is included whole |
| `t occurs on date(2024, 12, 31)`, `t occurs today` | anywhere in that day |
| `t occurs last month` | in that stretch of the calendar; also `this` and `next` |
"""


def reference_page() -> str:
    """Return the whole page as Markdown."""
    return "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield (
        "Units: "
        + ", ".join(f"`{plural}`" for plural in UNITS.values())
        + ", or in the singular.\n"
    )
    yield from _limits()
    yield "## Functions\n"
    for family in FAMILIES:
        yield f"### {family}\n"
        for declared in STDLIB.values():
            if declared.family == family:
                yield from _function(declared)


def _limits() -> Iterator[str]:
    yield "## Limits\n"
    yield "| What | At most |"
    yield "| --- | --- |"
    rule, formula = (limits.MAX_BYTES[kind] // 1024 for kind in (RuleKind.RULE, RuleKind.FORMULA))
    yield f"| size of a rule, of a formula | {rule} KB, {formula} KB |"
    yield f"| closing brackets `)` | {limits.MAX_CLOSING_BRACKETS} |"
    yield f"| loops inside loops | {limits.MAX_LOOPS} |"
    yield f"| profile attributes, context attributes | {limits.MAX_PROFILE_READS}, {limits.MAX_CONTEXT_READS} |"
    yield f"| items one evaluation looks at | {limits.MAX_VISITS:,}; beyond it a rule is false, a formula a fault |"
    yield f"| characters of a text that a function makes | {limits.MAX_TEXT:,}; a longer one is null |"
    yield ""


def _function(declared: Function) -> Iterator[str]:
    yield f"#### `{declared.name}`\n"
    yield f"`{declared.signature}` → {declared.returns.value}\n"
    yield f"{declared.doc}\n"
    yield "```pql"
    yield from (f"{text}  →  {shown(expected)}" for text, expected in declared.examples.items())
    yield "```\n"
    if declared.row_by_row_reason and ValueKind.ITEM not in declared.parameter_kinds:
        yield f"In batches: {declared.row_by_row_reason}.\n"


def shown(value: Any) -> str:
    """Return a result as a literal of the language."""
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
