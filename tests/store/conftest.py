"""Failures inside the contract show the values that were compared."""

import pytest

pytest.register_assert_rewrite(
    "proffer.testing.store_contract",
    "proffer.testing.customer_contract",
    "proffer.testing.caps_contract",
)
