"""Decisions on record: their ids say when they were made."""

import uuid

from proffer.model.events import decision_time_ms, new_decision_id

NOW = 1_603_395_515_489_123


def test_an_id_is_a_uuid_that_says_its_moment() -> None:
    made = [new_decision_id(NOW) for _ in range(1_000)]
    assert len(set(made)) == 1_000
    for one in made:
        assert (str(uuid.UUID(one)), uuid.UUID(one).version) == (one, 7)
        assert uuid.UUID(one).variant == uuid.RFC_4122
        assert decision_time_ms(one) == NOW // 1_000


def test_ids_of_later_moments_stand_after_earlier_ones() -> None:
    made = [new_decision_id(NOW + 1_000 * step) for step in range(100)]
    assert made == sorted(made)
