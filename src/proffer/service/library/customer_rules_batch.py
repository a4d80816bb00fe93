"""Vectorised audience evaluation of a page of customers.

Rules without a column form, and rules that read events, identities or other audiences, are evaluated
per customer. The columns of a page are built once for all rules.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from proffer.model.customer import Customer
from proffer.pql import CompiledRule, Environment
from proffer.pql.columns.columns import ProfileTable
from proffer.pql.columns.rule_columns import ColumnRule, to_columns

_NOT_ATTRIBUTES = frozenset({"segmentMembership", "identityMap"})


class BatchEvaluator:
    """Evaluate rules that have a column form for one page of customers."""

    def __init__(self, rules: Iterable[tuple[str, CompiledRule]]) -> None:
        rule_pairs = list(rules)
        self._audiences = [audience for audience, _ in rule_pairs]
        self._plans = dict(_plans(rule_pairs))
        self._paths = frozenset(path for plan in self._plans.values() for path in plan.paths)
        self._results: dict[int, Sequence[bool | None]] = {}

    @property
    def audiences(self) -> frozenset[str]:
        """Audiences whose rules have a column form."""
        return frozenset(self._plans)

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None:
        """Evaluate every rule for these customers."""
        if not self._plans:
            return
        table = ProfileTable.of([customer.attributes for customer in customers], self._paths)
        environment = Environment({}, now_us)
        no_results: Sequence[bool | None] = [None] * len(customers)
        columns = [
            self._plans[audience].holds(table, environment).tolist() if audience in self._plans else no_results
            for audience in self._audiences
        ]
        keys = [customer.key for customer in customers]
        self._results = dict(zip(keys, zip(*columns, strict=True), strict=True))

    def results(self, customer: int) -> Sequence[bool | None] | None:
        """Return a customer's results in order of rules; None where a rule is not vectorised."""
        return self._results.get(customer)


def _plans(rules: Iterable[tuple[str, CompiledRule]]) -> Iterable[tuple[str, Any]]:
    for audience, rule in rules:
        plan = to_columns(rule.checked)
        reads_profile_only = all(path.split(".")[0] == "profile" for path in rule.reads)
        if not isinstance(plan, ColumnRule) or not reads_profile_only:
            continue
        if not any(path[0] in _NOT_ATTRIBUTES for path in plan.paths):
            yield audience, plan
