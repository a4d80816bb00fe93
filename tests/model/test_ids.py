"""Ids: what their digits mean, and that no two are alike."""

import os
import uuid
import warnings

import pytest

from proffer.model.ids import (
    RANDOM_DIGITS,
    SNOWFLAKE_EPOCH_MS,
    EntityKind,
    InstanceIds,
    RandomDigits,
    Snowflakes,
    canonical,
    kind_of,
)

NOW = 1_603_395_515_489_123


def number(entity_id: str) -> int:
    return int(entity_id.rpartition(":")[2], 16)


def test_an_id_holds_the_moment_it_was_minted() -> None:
    """The bits above the 22nd are milliseconds since the epoch of Snowflakes."""
    minted = Snowflakes().mint(EntityKind.OFFER, NOW)

    assert minted.startswith("xcore:personalized-offer:")
    assert (number(minted) >> 22) + SNOWFLAKE_EPOCH_MS == NOW // 1000


def test_the_node_stands_between_moment_and_sequence() -> None:
    """Ten bits of node, twelve of sequence."""
    ids = Snowflakes(node=5)
    first, second = (number(ids.mint(EntityKind.TAG, NOW)) for _ in range(2))

    assert [one >> 12 & 0x3FF for one in (first, second)] == [5, 5]
    assert [one & 0xFFF for one in (first, second)] == [0, 1]


def test_ids_rise_though_the_clock_steps_back() -> None:
    """A clock set back by an hour repeats nothing."""
    ids = Snowflakes()
    moments = [NOW, NOW + 2000, NOW - 3_600_000_000, NOW - 1, NOW + 3000]
    minted = [number(ids.mint(EntityKind.TAG, moment)) for moment in moments]

    assert sorted(set(minted)) == minted


def test_more_than_a_millisecond_can_number_borrows_from_the_next() -> None:
    """Ten thousand ids at one moment are ten thousand different ids, in order."""
    ids = Snowflakes()
    minted = [number(ids.mint(EntityKind.TAG, NOW)) for _ in range(10_000)]

    assert sorted(set(minted)) == minted


@pytest.mark.parametrize(
    ("entity_id", "kind"),
    [
        ("xcore:tag:124e0be5699743d3", EntityKind.TAG),
        ("dps:offer-activity:a", EntityKind.DECISION),
        ("xcore:tag:", None),
        ("xcore:tag:12345678901234567", None),
        ("xcore:tag:ABC", None),
        ("xcore:bag:a", None),
        ("tag:a", None),
        ("xcore:tag:a\n", None),
        ("", None),
    ],
)
def test_an_id_tells_its_kind(entity_id: str, kind: EntityKind | None) -> None:
    """Any other text names none."""
    assert kind is kind_of(entity_id)


def test_both_spellings_are_one_id() -> None:
    """Only the beginning is changed."""
    assert [canonical(text) for text in ("dps:tag:a", "xcore:tag:a", "dpsx", "")] == [
        "xcore:tag:a",
        "xcore:tag:a",
        "dpsx",
        "",
    ]


def test_an_instance_id_holds_the_moment_of_creation() -> None:
    """It is a UUID of version 1 whose time is the moment, with a node that is no real address."""
    minted = uuid.UUID(InstanceIds().mint(NOW))

    assert minted.version == 1
    assert minted.time - 0x01B21DD213814000 == NOW * 10
    assert minted.node >> 40 & 1


def test_instance_ids_differ_though_the_clock_stands_still_or_steps_back() -> None:
    """Time within them rises by its smallest unit."""
    ids = InstanceIds()
    minted = [uuid.UUID(ids.mint(moment)).time for moment in (NOW, NOW, NOW - 5_000_000, NOW)]

    assert sorted(set(minted)) == minted


def test_chance_repeats_nothing() -> None:
    """However it is asked, every digit is given once."""
    taken = [RandomDigits().take(size) for size in (1, 8192, 7, 10)] + [RANDOM_DIGITS.take(8) for _ in range(2_000)]
    assert [len(one) for one in taken[:4]] == [1, 8192, 7, 10]
    assert len(set(taken[4:])) == 2_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_process_has_chances_of_its_own() -> None:
    RANDOM_DIGITS.take(1)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there may be threads: the child only writes a few bytes
        child = os.fork()
    if not child:
        os.write(writing, RANDOM_DIGITS.take(16).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 16).decode() != RANDOM_DIGITS.take(16)
    os.close(reading)
