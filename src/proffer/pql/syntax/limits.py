"""How much a rule may be, and how much work one evaluation may do (PQL 4.2, 4.3)."""

from enum import StrEnum


class RuleKind(StrEnum):
    """What a text is for: whether somebody qualifies, or how an offer scores."""

    RULE = "rule"
    FORMULA = "formula"


MAX_BYTES = {RuleKind.RULE: 15 * 1024, RuleKind.FORMULA: 8 * 1024}
MAX_CLOSING = 30
"""Nesting as the original product measures it: the number of `)` in the text."""

MAX_NESTING = 34
"""Nesting as the parser meets it: brackets of any shape, `not`, `-`, `let`, quantifiers, lambdas."""

MAX_DEPTH = 150
"""Depth of the tree. A sum of a hundred terms is a hundred deep; each evaluator recurses over it."""

MAX_LOOPS = 8
"""Quantifiers and item expressions inside one another."""

MAX_PROFILE_READS = 25
MAX_CONTEXT_READS = 30
MAX_CHAIN_STEPS = 6
MAX_INTEGER = 2**63 - 1

MAX_VISITS = 200_000
"""Items one evaluation may look at. Beyond it the evaluation is a fault: false, or no score."""

MAX_TEXT = 1_000_000
"""Characters a text function may return; a longer result is null."""

MAX_COMPARED_DEPTH = 50
"""Two values nested deeper than this are not equal."""
