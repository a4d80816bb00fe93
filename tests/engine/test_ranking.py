"""The draw among equals: documented, so that other languages can make it again."""

from proffer.engine.index.tie_break import hash64, tie_key


def test_a_number_stands_for_a_text_on_every_machine() -> None:
    """The first 64 bits of BLAKE2b-64 of its UTF-8, big end first."""
    assert hash64("") == 0xE4A6A0577479B2B4
    assert hash64("é") == hash64("\u00e9") != hash64("e")


def test_lots_are_the_finalizer_of_splitmix64() -> None:
    """The documented numbers: the first output of SplitMix64 for seed 0 is that of its first increment."""
    assert tie_key(1, 0) == 0xE220A8397B1DCDAF
    assert tie_key(0, 0) == 0


def test_seed_and_offer_weigh_the_same() -> None:
    """Only what differs between them counts, so equal differences draw equal lots."""
    assert tie_key(3, 5) == tie_key(5, 3) == tie_key(6, 0)


def test_offers_never_draw_the_same_lot() -> None:
    """Under one seed the lots of different numbers differ: the finalizer is a bijection."""
    assert len({tie_key(12345, offer) for offer in range(20_000)}) == 20_000
