"""`bucket` divides ids evenly, and independently for each salt."""

from collections import Counter
from collections.abc import Iterable

import pytest

from proffer.pql import Environment
from proffer.pql.functions.stdlib import STDLIB

ENV = Environment({}, 0)
IDS = [f"customer-{number}" for number in range(10_000)]


def bucket(identity: str, salt: str, count: int) -> int:
    result = STDLIB["bucket"].apply(ENV, identity, salt, count)
    assert isinstance(result, int)
    return result


def chi_square(values: Iterable[object], categories: int) -> float:
    """How far the values are from an even distribution over the categories."""
    counts = Counter(values)
    expected = len(IDS) / categories
    missing = categories - len(counts)
    return sum((count - expected) ** 2 / expected for count in counts.values()) + missing * expected


@pytest.mark.parametrize("count", [2, 7, 100])
@pytest.mark.parametrize("salt", ["spring", "summer", ""])
def test_ids_are_divided_evenly(salt: str, count: int) -> None:
    """The buckets of 10,000 ids are as even as those of a fair draw: beyond the bound in one of 1,000 draws."""
    buckets = [bucket(identity, salt, count) for identity in IDS]

    assert set(buckets) == set(range(count))
    assert chi_square(buckets, count) < {2: 10.9, 7: 22.5, 100: 148.3}[count]


def test_salts_are_independent() -> None:
    """The bucket for one salt says nothing about that for another."""
    pairs = [(bucket(identity, "spring", 10), bucket(identity, "summer", 10)) for identity in IDS]

    assert chi_square(pairs, 100) < 148.3
