"""Stored decision events: those of every earlier version are read, and a new event comes back as it was."""

from pathlib import Path

import msgspec

from proffer.model.events import DecisionEvent, LearnedRanking, ScopeAnswer, Selection
from proffer.model.identity import IdentityKey
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.store.common.event_codec import decode_event, decode_pack, encode_event, encode_pack

PACKS = Path(__file__).parent / "packs"
"""Packs that the code of earlier versions wrote. A committed file is never rewritten."""
ANN = IdentityKey("crmid", "ann")
NEW_YEAR_US = 1_767_225_600_000_000
GOLD_AND_SILVER = ScopeAnswer(
    decision="welcome",
    decision_etag=4,
    placement="web",
    placement_etag=2,
    selections=(
        Selection(offer="gold", etag=7, rank=1, score=0.1, formula="f", component=2),
        Selection(offer="silver", etag=1, rank=2),
    ),
)


def an_event(number: int, **members: object) -> DecisionEvent:
    """Return the event with this number in the packs."""
    event = DecisionEvent(
        id=f"0197b7c1-8c00-7000-8000-00000000000{number}",
        container="c1",
        decided_us=NEW_YEAR_US + number,
        revision=3,
        surface="ode",
        request=DecisionRequest(
            scopes=(ScopeRequest("welcome", "web", 2), ScopeRequest("bye", "", 1)),
            across_placements=True,
            languages=("de", "en"),
            context={"weather": {"celsius": 30.5}},
            event={"celsius": 30.5, "nested": [None, True]},
        ),
        answers=(GOLD_AND_SILVER, None),
        identities=(ANN, IdentityKey("email", "ann@example.com")),
        request_id="request 1",
        customer_found=True,
        attributes={"person": {"age": 40, "name": "Zoë 🎁"}},
        events=({"_id": "e", "n": 2**60, "wide": 2**70},),
        usage={("gold", "2", ""): 1},
    )
    return msgspec.structs.replace(event, **members)


def test_events_of_the_first_meaning_are_read() -> None:
    """Members that were added since have their defaults; the last event has no `unavailable_data` either."""
    first, degraded, redacted, oldest = decode_pack((PACKS / "meaning-1.pack").read_bytes())

    assert first == an_event(1, subject=7)
    assert degraded == an_event(
        2,
        surface="edge",
        answers=(
            ScopeAnswer(
                decision="welcome",
                decision_etag=4,
                placement="web",
                placement_etag=2,
                fallback=Selection(offer="fall", etag=3, component=0),
            ),
            None,
        ),
        attributes={},
        events=(),
        usage={},
        identities=(ANN,),
        request_id=None,
        customer_found=False,
        unavailable_data="customer",
        subject=ANN,
    )
    assert redacted == an_event(3, identities=(), request_id=None, attributes={}, events=(), usage={}, redacted=True)
    assert oldest == an_event(4, subject=7)
    assert [event.meaning for event in (first, degraded, redacted, oldest)] == [1, 1, 1, 1]


def test_all_members_come_back_as_they_were() -> None:
    """An event with every member set is equal after encoding, alone and in a pack."""
    gold, silver = GOLD_AND_SILVER.selections
    answer = msgspec.structs.replace(
        GOLD_AND_SILVER,
        selections=(
            msgspec.structs.replace(gold, criterion=3),
            msgspec.structs.replace(silver, criterion=0, token="t"),
        ),
        dropped=(1, 0, 40_000, 2, 0, 1),
        learned=LearnedRanking(state=7, draw=65, won=12, other=-1, arms=b"\x05", features=b"\x01\xff"),
        arm=(0, 1),
    )
    event = an_event(
        1,
        answers=(answer, None),
        meaning=2,
        thresholds={("gold", "2", ""): 5, ("gold", "3", "web"): 0},
        trust=0b10,
        policies=("quiet hours",),
    )

    assert decode_event(encode_event(event)) == event
    assert decode_pack(encode_pack([(encode_event(event), ANN)])) == [msgspec.structs.replace(event, subject=ANN)]


def test_members_take_no_space_without_content() -> None:
    """Members of later versions are written up to the last one that is set."""
    plain, proven = an_event(1, events=(), meaning=2), an_event(1, events=(), meaning=2, trust=0)

    assert len(msgspec.msgpack.decode(encode_event(plain))) == 16
    assert len(msgspec.msgpack.decode(encode_event(proven))) == 19


def test_the_members_that_servers_of_earlier_versions_read_have_their_old_form() -> None:
    """On a shared database they read events of this version: six members of an answer and of a selection."""
    gold, silver = GOLD_AND_SILVER.selections
    selections = (msgspec.structs.replace(gold, criterion=3), msgspec.structs.replace(silver, criterion=0, token="t"))
    answer = msgspec.structs.replace(GOLD_AND_SILVER, selections=selections, dropped=(1, 2), arm=(0, 1))
    (row,) = msgspec.msgpack.decode(encode_event(an_event(1, answers=(answer,), meaning=2)))[6]
    assert len(row) == 6
    assert [len(selection) for selection in row[4]] == [6, 6]
