"""Number functions (PQL 2.8)."""

import hashlib
from math import ceil, floor

from proffer.pql.functions.registry import ValueKind, function
from proffer.pql.values.environment import Environment
from proffer.pql.values.values import as_number


def _hexadecimal(number: int) -> str:
    """Format as hexadecimal; negative numbers as 64-bit two's complement."""
    return format(number if number >= 0 else number + 2**64, "x")


def _random(env: Environment, place: int = 0) -> float:
    """Return a number derived from request seed, time and call number: repeatable on replay."""
    key = f"{env.variables.get('$seed')}|{env.now.isoformat()}|{place}"
    digest = hashlib.blake2b(key.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


FUNCTIONS = (
    function(
        "absolute",
        parameter_kinds=(ValueKind.NUMBER,),
        returns=ValueKind.NUMBER,
        method=False,
        doc="The absolute value of the number.",
        examples={"absolute(-3)": 3},
        body=lambda number: as_number(abs(number)),
    ),
    function(
        "roundUp",
        parameter_kinds=(ValueKind.NUMBER,),
        returns=ValueKind.DOUBLE,
        method=False,
        doc="The number rounded up to an integer, as a double.",
        examples={"roundUp(2.1)": 3.0},
        body=lambda number: float(ceil(number)),
    ),
    function(
        "roundDown",
        parameter_kinds=(ValueKind.NUMBER,),
        returns=ValueKind.DOUBLE,
        method=False,
        doc="The number rounded down to an integer, as a double.",
        examples={"roundDown(2.9)": 2.0},
        body=lambda number: float(floor(number)),
    ),
    function(
        "toInt",
        parameter_kinds=(ValueKind.NUMBER,),
        returns=ValueKind.INTEGER,
        method=False,
        doc="The number truncated to an integer.",
        examples={"toInt(2.9)": 2, "toInt(-2.9)": -2},
        body=lambda number: as_number(int(number)),
    ),
    function(
        "toHexString",
        parameter_kinds=(ValueKind.INTEGER,),
        returns=ValueKind.TEXT,
        method=False,
        doc="An integer in hexadecimal.",
        examples={"toHexString(158)": "9e"},
        body=_hexadecimal,
    ),
    function(
        "toString",
        parameter_kinds=(ValueKind.PRINTABLE,),
        returns=ValueKind.TEXT,
        method=False,
        doc="A number, Boolean or text as text.",
        examples={"toString(12)": "12", "toString(true)": "true"},
        body=lambda text: text,
    ),
    function(
        "random",
        parameter_kinds=(),
        returns=ValueKind.DOUBLE,
        method=False,
        doc="A number from 0 up to 1, drawn from the seed of the request: replaying the request draws it again.",
        examples={"random() >= 0 and random() < 1": True},
        body=_random,
        with_env=True,
        row_by_row_reason="each row draws its own number",
    ),
)
