"""The two readings of a decision request agree: the fast one refuses exactly what the thorough one complains of."""

from typing import Any

import msgspec
import pytest
from hypothesis import given

from fuzz.mutations import mutated
from fuzz.test_mutations import BOUNDED, REQUESTS
from proffer.errors import Invalid, ProfferError
from proffer.validation import Shape, validate
from proffer.wire import ode
from proffer.wire.codec import decode, decode_as


@pytest.mark.parametrize(
    ("type_", "shape", "valid"),
    [
        (ode.DecisionRequestDoc, ode.REQUEST_SHAPE, REQUESTS[0]),
        (ode.DecisionRequestDoc09, ode.REQUEST_SHAPE_09, REQUESTS[1]),
    ],
)
def test_both_readings_agree(type_: type[Any], shape: Shape, valid: Any) -> None:
    """For any mutated request that is JSON."""

    @BOUNDED
    @given(value=mutated([valid]))
    def agree(value: Any) -> None:
        try:
            body = msgspec.json.encode(value)
            plain = decode(body)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError, ProfferError):
            return  # a lone surrogate, a number out of range, too deep
        mistakes = validate(shape, plain)
        found = []
        try:
            decode_as(type_, body, shape=shape)
        except Invalid as refused:
            found = list(refused.violations)
        assert found == mistakes

    agree()
