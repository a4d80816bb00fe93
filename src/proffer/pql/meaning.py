"""The version of the meaning of the rule language."""

MEANING_VERSION = 2
"""Version of what rules and formulas mean. A decision event without one was decided by version 1.

Version 2 differs from version 1 in this:

- Types come from the schema, not from the value: a comparison uses the declared type of a field, and numbers,
  Booleans and texts that cannot be read as one type are not comparable. Version 1 converted the right side to
  the type of the value on the left.
- Date-times are instants: `=`, order, `in`, `min`, `max`, `distinct`, `topN` and `bottomN` compare the instant,
  whatever the offset and precision. Version 1 compared two texts as texts.
- `toTimeZone` keeps its zone for whatever reads the time.
- Whole months and years are complete when the day of the month is reached, or on the first day of the next month
  if the month lacks that day.
"""
