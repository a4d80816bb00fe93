"""Audiences asked of many customers at once: the column form of their rules, for batch evaluation.

Rules that columns cannot do, that look at events or identities, or that ask about another audience, are
asked customer by customer, as all are where the extra `columns` is not installed. A page of customers is
laid out once for all rules.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from proffer.model.customer import Customer
from proffer.pql import CompiledRule, Environment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_ATTRIBUTES = frozenset({"segmentMembership", "identityMap"})


class ColumnAnswers:
    """What the rules that have a column form say of the customers of one page."""

    def __init__(self, rules: Iterable[tuple[str, CompiledRule]]) -> None:
        self._plans = dict(_plans(rules))
        self._paths = frozenset(path for plan in self._plans.values() for path in plan.paths)
        self._rows: dict[int, int] = {}
        self._said: dict[str, Sequence[bool]] = {}

    @property
    def audiences(self) -> frozenset[str]:
        """The audiences that are answered here."""
        return frozenset(self._plans)

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None:
        """Ask every rule about these customers."""
        if not self._plans:
            return
        from proffer.pql.columns import Table  # numpy and pyarrow: an extra, and slow to import

        table = Table.of([one.attributes for one in customers], self._paths)
        environment = Environment({}, _EPOCH + timedelta(microseconds=now_us))
        self._rows = {one.key: row for row, one in enumerate(customers)}
        self._said = {
            audience: plan.holds(table, environment).tolist()
            for audience, plan in self._plans.items()
        }

    def answer(self, audience: str, customer: int) -> bool | None:
        """What the audience's rule says of a customer of the page; None where it is to be asked itself."""
        said = self._said.get(audience)
        row = self._rows.get(customer)
        return None if said is None or row is None else said[row]


def _plans(rules: Iterable[tuple[str, CompiledRule]]) -> Iterable[tuple[str, Any]]:
    try:
        from proffer.pql.to_columns import ColumnRule, to_columns
    except ImportError:
        return
    for audience, rule in rules:
        plan = to_columns(rule.checked)
        of_profile = all(path.split(".")[0] == "profile" for path in rule.reads)
        if not isinstance(plan, ColumnRule) or not of_profile:
            continue
        if not any(path[0] in _NOT_ATTRIBUTES for path in plan.paths):
            yield audience, plan
