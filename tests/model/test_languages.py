"""Which language variant a customer gets: lookup with likely subtags (R30)."""

import subprocess
import sys

import pytest

from proffer.model.languages import MAX_TAG_LENGTH, best_variant, likely_tag


@pytest.mark.parametrize(
    ("requested", "available", "expected"),
    [
        # Scripts that a region implies.
        ("zh-TW", "en zh-Hans zh-Hant", "zh-Hant"),
        ("zh-HK", "en zh-Hans zh-Hant", "zh-Hant"),
        ("zh-MO", "zh zh-Hant", "zh-Hant"),
        ("zh-CN", "zh-Hant zh-Hans", "zh-Hans"),
        ("zh-SG", "zh-Hant zh-Hans", "zh-Hans"),
        ("zh", "zh-Hant zh-Hans", "zh-Hans"),
        ("zh-Hant", "zh-CN zh-TW", "zh-TW"),
        ("zh-Hant-HK", "zh-TW zh-HK zh-Hant", "zh-HK"),
        ("zh-Hant", "zh-CN zh-HK", "zh-HK"),
        ("sr-ME", "sr sr-Latn", "sr-Latn"),
        ("pa-PK", "pa pa-Arab", "pa-Arab"),
        # The same tag, whatever its case, before the likely one, before the language alone.
        ("EN_us", "en en-US", "en-US"),
        ("en", "en-GB en-US", "en-US"),
        ("en", "de en-GB", "en-GB"),
        ("en-GB", "en-US en", "en"),
        ("de-AT", "en de", "de"),
        ("de-CH-1996", "en de", "de"),
        ("en-US-u-ca-gregory", "de en-US", "en-US"),
        ("es-MX", "en es-ES es-419", "es-419"),
        ("es-MX", "es-419 es", "es"),
        # Codes that have been replaced.
        ("iw", "en he", "he"),
        ("he-IL", "en iw", "iw"),
        ("no", "en nb", "nb"),
        ("nb-NO", "en no", "no"),
        ("tl", "en fil", "fil"),
        ("zh-cmn-Hant", "zh zh-TW", "zh-TW"),
        ("sh", "sr sr-Latn", "sr-Latn"),
        # Truncation of the tag, where the script is another.
        ("zh-TW", "en zh", "zh"),
        ("sr-Latn", "en sr", "sr"),
        # In order of the requested languages.
        ("fr de", "en de fr", "fr"),
        ("ja zh-TW en", "en zh-Hant", "zh-Hant"),
        ("en-GB de", "en-US de", "de"),
        # None of them.
        ("pt-BR", "en pt-PT", None),
        ("e", "en", None),
        ("zh", "", None),
        ("x-private de", "en de", "de"),
        ("", "en", None),
        ("not~a~tag", "en not~a~tag", "not~a~tag"),
    ],
)
def test_the_closest_variant_is_found(requested: str, available: str, expected: str | None) -> None:
    """Case by case: requested languages, best first, and what there is."""
    tags = available.split()

    index = best_variant(tuple(requested.split()), tuple((tag,) for tag in tags))

    assert (None if index is None else tags[index]) == expected


def test_a_variant_may_have_several_languages() -> None:
    """Any of them counts, and a variant without any is never found."""
    assert best_variant(("fr", "zh-HK"), ((), ("en", "de"), ("ja", "zh-Hant"))) == 2


def test_anything_is_a_tag() -> None:
    """What is not valid equals itself only; a tag that is too long is not parsed."""
    for text in ("", "-", "*", "a", "\ud800", "zh-", "x", "i-klingon", "zh-" + "a" * MAX_TAG_LENGTH, "é-ü"):
        assert likely_tag(text).tag == text.lower()
        assert best_variant((text,), (("de",),)) is None


def test_the_tables_are_not_loaded_for_content_in_one_language() -> None:
    """They cost memory and time; a library without language variants does without."""
    code = "import sys, proffer.model.content, proffer.model.parse; print('langcodes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
