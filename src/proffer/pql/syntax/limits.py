"""Limits on rule size and work per evaluation (PQL 4.2, 4.3)."""

from enum import StrEnum


class RuleKind(StrEnum):
    """Whether a text is an eligibility rule or a ranking formula."""

    RULE = "rule"
    FORMULA = "formula"


MAX_BYTES = {RuleKind.RULE: 15 * 1024, RuleKind.FORMULA: 8 * 1024}
MAX_CLOSING_BRACKETS = 30
"""Nesting limit of the original product: the number of `)` in the text."""

MAX_NESTING = 34
"""Nesting limit of the parser: brackets, `not`, `-`, `let`, quantifiers, lambdas."""

MAX_DEPTH = 150
"""Depth of the tree. A sum of 100 terms has depth 100; evaluators recurse over it."""

MAX_LOOPS = 8
"""Nesting depth of quantifiers and item expressions."""

MAX_PROFILE_READS = 25
MAX_CONTEXT_READS = 30
MAX_CHAIN_STEPS = 6
MAX_INTEGER = 2**63 - 1

MAX_VISITS = 200_000
"""Items one evaluation may visit; beyond that it fails: false, or no score."""

MAX_TEXT = 1_000_000
"""Characters a text function may return; a longer result is null."""

MAX_COMPARED_DEPTH = 50
"""Values nested deeper than this never compare equal."""
