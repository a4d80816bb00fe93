"""Locale-specific number formats: `en_GB`, `de_DE`. Unknown locales use `en_US`."""

import re
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

_MAX_DIGITS = 30
_NARROW_SPACE = "\u202f"

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
    "fr": (_NARROW_SPACE, ",", False),
    "pl": ("\u00a0", ",", False),
    "cs": ("\u00a0", ",", False),
    "sv": ("\u00a0", ",", False),
    "nb": ("\u00a0", ",", False),
    "fi": ("\u00a0", ",", False),
    "ru": ("\u00a0", ",", False),
}
_CURRENCY_BY_COUNTRY = {
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


def _to_decimal(number: float) -> Decimal | None:
    try:
        decimal = Decimal(str(number))
    except (InvalidOperation, ValueError):
        return None
    return decimal if decimal.is_finite() and abs(decimal.adjusted()) < _MAX_DIGITS else None


def _group_digits(digits: str, separator: str, *, indian: bool) -> str:
    """Group digits by three; with `indian` by two above the first thousand."""
    if indian and len(digits) > 3:
        head, tail = digits[:-3], digits[-3:]
        groups = re.findall(r"\d{1,2}", head[::-1])
        return separator.join([*(group[::-1] for group in reversed(groups)), tail])
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", separator, digits)


def _format_decimal(number: Decimal, locale: str, places: int | None) -> str:
    language, _, country = locale.partition("_")
    separator, point, _ = _LANGUAGES.get(language, _LANGUAGES["en"])
    quantum = Decimal(1).scaleb(-(3 if places is None else places))
    integer_part, _, fraction = f"{abs(number).quantize(quantum, ROUND_HALF_EVEN):f}".partition(".")
    if places is None:
        fraction = fraction.rstrip("0")
    text: str = _group_digits(integer_part, separator, indian=country == "IN")
    return f"{text}{point}{fraction}" if fraction else text


def format_number_for(number: float, locale: str = "en_US") -> str | None:
    """Format a number with at most three decimals; None for more than 30 digits."""
    decimal = _to_decimal(number)
    if decimal is None:
        return None
    return ("-" if decimal < 0 else "") + _format_decimal(decimal, locale.replace("-", "_"), None)


def format_currency_for(number: float, locale: str) -> str | None:
    """Format a number as an amount in the locale's currency."""
    decimal = _to_decimal(number)
    if decimal is None:
        return None
    locale = locale.replace("-", "_")
    language, _, country = locale.partition("_")
    symbol = _CURRENCY_BY_COUNTRY.get(country, "€" if country else "$")
    text = _format_decimal(decimal, locale, 0 if country in _WITHOUT_CENTS else 2)
    symbol_first = _LANGUAGES.get(language, _LANGUAGES["en"])[2]
    gap = "\u00a0" if not symbol_first or len(symbol) > 2 or language in {"nl", "de"} else ""
    minus = "-" if decimal < 0 else ""
    return f"{minus}{symbol}{gap}{text}" if symbol_first else f"{minus}{text}{gap}{symbol}"


def format_percentage(number: float) -> str | None:
    """Format a ratio in whole percent."""
    decimal = _to_decimal(number)
    return None if decimal is None else f"{(decimal * 100).quantize(Decimal(1), ROUND_HALF_EVEN):f}%"


def format_precision(number: float, digits: int) -> str | None:
    """Format a number with `digits` significant digits."""
    decimal = _to_decimal(number)
    if decimal is None or not 1 <= digits <= _MAX_DIGITS:
        return None
    last_exponent = decimal.adjusted() - digits + 1 if decimal else 1 - digits
    return f"{decimal.quantize(Decimal(1).scaleb(last_exponent), ROUND_HALF_EVEN):f}"
