"""Locale-specific number formats: `en_GB`, `de_DE`. Unknown locales use `en_US`."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

_MOST_DIGITS = 30
_THIN = "\u202f"

# Language → group separator, decimal separator, whether the currency symbol comes first.
_LANGUAGES = {
    "en": (",", ".", True),
    "ja": (",", ".", True),
    "zh": (",", ".", True),
    "ko": (",", ".", True),
    "de": (".", ",", False),
    "es": (".", ",", False),
    "it": (".", ",", False),
    "nl": (".", ",", True),
    "pt": (".", ",", False),
    "da": (".", ",", False),
    "tr": (".", ",", True),
    "fr": (_THIN, ",", False),
    "pl": ("\u00a0", ",", False),
    "cs": ("\u00a0", ",", False),
    "sv": ("\u00a0", ",", False),
    "nb": ("\u00a0", ",", False),
    "fi": ("\u00a0", ",", False),
    "ru": ("\u00a0", ",", False),
}
_CURRENCIES = {
    "US": "$",
    "GB": "£",
    "CA": "$",
    "AU": "$",
    "IN": "₹",
    "CH": "CHF",
    "JP": "¥",
    "CN": "¥",
    "KR": "₩",
    "BR": "R$",
    "PL": "zł",
    "CZ": "Kč",
    "SE": "kr",
    "NO": "kr",
    "DK": "kr",
    "TR": "₺",
    "RU": "₽",
}
_WITHOUT_CENTS = frozenset({"JP", "KR"})


def _exact(number: float) -> Decimal | None:
    try:
        exact = Decimal(str(number))
    except (InvalidOperation, ValueError):
        return None
    return exact if exact.is_finite() and abs(exact.adjusted()) < _MOST_DIGITS else None


def _grouped(digits: str, between: str, *, indian: bool) -> str:
    """Group digits by three; with `indian` by two above the first thousand."""
    if indian and len(digits) > 3:
        head, tail = digits[:-3], digits[-3:]
        groups = re.findall(r"\d{1,2}", head[::-1])
        return between.join([*(group[::-1] for group in reversed(groups)), tail])
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", between, digits)


def _shown(number: Decimal, locale: str, places: int | None) -> str:
    language, _, country = locale.partition("_")
    between, point, _ = _LANGUAGES.get(language, _LANGUAGES["en"])
    most = Decimal(1).scaleb(-(3 if places is None else places))
    whole, _, fraction = f"{abs(number).quantize(most, ROUND_HALF_EVEN):f}".partition(".")
    if places is None:
        fraction = fraction.rstrip("0")
    text: str = _grouped(whole, between, indian=country == "IN")
    return f"{text}{point}{fraction}" if fraction else text


def number_in(number: float, locale: str = "en_US") -> str | None:
    """Format a number with at most three decimals; None for more than 30 digits."""
    exact = _exact(number)
    if exact is None:
        return None
    return ("-" if exact < 0 else "") + _shown(exact, locale.replace("-", "_"), None)


def currency_in(number: float, locale: str) -> str | None:
    """Format a number as an amount in the locale's currency."""
    exact = _exact(number)
    if exact is None:
        return None
    locale = locale.replace("-", "_")
    language, _, country = locale.partition("_")
    sign = _CURRENCIES.get(country, "€" if country else "$")
    text = _shown(exact, locale, 0 if country in _WITHOUT_CENTS else 2)
    before = _LANGUAGES.get(language, _LANGUAGES["en"])[2]
    gap = "\u00a0" if not before or len(sign) > 2 or language in {"nl", "de"} else ""
    minus = "-" if exact < 0 else ""
    return f"{minus}{sign}{gap}{text}" if before else f"{minus}{text}{gap}{sign}"


def percentage(number: float) -> str | None:
    """Format a ratio in whole percent."""
    exact = _exact(number)
    return None if exact is None else f"{(exact * 100).quantize(Decimal(1), ROUND_HALF_EVEN):f}%"


def precision(number: float, digits: int) -> str | None:
    """Format a number with `digits` significant digits."""
    exact = _exact(number)
    if exact is None or not 1 <= digits <= _MOST_DIGITS:
        return None
    least = exact.adjusted() - digits + 1 if exact else 1 - digits
    return f"{exact.quantize(Decimal(1).scaleb(least), ROUND_HALF_EVEN):f}"
