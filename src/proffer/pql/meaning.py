"""The version of what rules, formulas and content mean, and what each version changed."""

MEANING_VERSION = 2
"""Version of what rules, formulas and content mean. A decision event without one was decided by version 1."""

_CHANGES: dict[int, tuple[str, ...]] = {
    2: (
        (
            "Types come from the schema, not from the value: a comparison uses the declared type of a field, and "
            "numbers, Booleans and texts that cannot be read as one type are not comparable. Before, the right side "
            "was converted to the type of the value on the left."
        ),
        (
            "Arithmetic and aggregates read a text as a number only where the field is declared a number, and the text "
            "`false` is false as a condition. Before, a text beside a number was converted, and any text was true."
        ),
        (
            "Date-times are instants: `=`, order, `in`, `min`, `max`, `distinct`, `topN` and `bottomN` compare the "
            "instant, whatever the offset and precision. Before, two texts were compared as texts."
        ),
        "`toTimeZone` keeps its zone for whatever reads the time, and a text with an offset is read by its own clock.",
        (
            "Whole months and years are complete when the day of the month is reached, or on the first day of the next "
            "month if the month lacks that day."
        ),
        "JSON content that is not JSON is not delivered, except as the own content of a fallback offer.",
    ),
}
"""What each version changed."""


def changes_of_meaning(first: int, second: int) -> tuple[str, ...]:
    """Return what changed between two versions, in either direction; unknown versions add nothing."""
    versions = range(min(first, second) + 1, max(first, second) + 1)
    return tuple(change for version in versions for change in _CHANGES.get(version, ()))
