"""The draw among equals: documented, so that other languages can make it again."""

from proffer.engine.index.tie_break import draw, number_of


def test_a_number_stands_for_a_text_on_every_machine() -> None:
    """The first 64 bits of BLAKE2b-64 of its UTF-8, big end first."""
    assert number_of("") == 0xE4A6A0577479B2B4
    assert number_of("é") == number_of("\u00e9") != number_of("e")


def test_lots_are_the_finalizer_of_splitmix64() -> None:
    """The documented numbers: the first output of SplitMix64 for seed 0 is that of its first increment."""
    assert draw(1, 0) == 0xE220A8397B1DCDAF
    assert draw(0, 0) == 0


def test_seed_and_offer_weigh_the_same() -> None:
    """Only what differs between them counts, so equal differences draw equal lots."""
    assert draw(3, 5) == draw(5, 3) == draw(6, 0)


def test_offers_never_draw_the_same_lot() -> None:
    """Under one seed the lots of different numbers differ: the finalizer is a bijection."""
    assert len({draw(12345, offer) for offer in range(20_000)}) == 20_000
