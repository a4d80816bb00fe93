"""Values of stored customers that rules meet and that are not of the type that they are compared as (R44).

The rules are evaluated for each customer as usual; `proffer.pql.encounters` observes the evaluation.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from proffer.engine.compiled import BoundConstraint, BoundFormula
from proffer.model.customer import EVENT_LIMITS, Attributes, Customer, EventLimits
from proffer.model.ids import EntityKind
from proffer.model.offer import PersonalizedOffer
from proffer.model.xdm import profile_document
from proffer.pql import CompiledFormula, CompiledRule, CompileErrors, Encounter, EncounterKind, Environment, encounters
from proffer.pql.values.times import as_moment, parse_time
from proffer.pql.values.values import is_list, parse_boolean, parse_json_number, path
from proffer.service.library.customer_rules import CustomerSchema
from proffer.service.library.library import ContainerState
from proffer.service.rules.check import compile_expression, expressions_of, schema_of
from proffer.service.rules.schema_changes import rule_label
from proffer.service.rules.stored_fields import sample_pages
from proffer.service.runtime.clock import Clock
from proffer.store.ports import StoreReader

_PAGE = 200
_SLICE = 20
"""Customers that are evaluated before the time is looked at."""
MAX_SECONDS = 1.0
"""Time after which no more customers of a sample are evaluated."""
_MAX_OFFERS = 20
"""Most offers with which a rule that reads `offer` is evaluated for one customer."""
_MAX_VALUES = 100
"""Most distinct values that are counted for one part of a rule."""
_MAX_TEXT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedRule:
    """A rule or formula to evaluate. `label`: its kind and name.

    `offers`: values of `offer`. `of_events`: the query of a cap, which is evaluated for each event.
    """

    label: str
    compiled: CompiledRule | CompiledFormula
    offers: Sequence[Attributes | None] = (None,)
    of_events: bool = False

    @property
    def needs_events(self) -> bool:
        return self.of_events or any(read.split(".")[0] == "xEvent" for read in self.compiled.reads)


@dataclass(slots=True)
class RuleFinding:
    """What a part of a rule meets: for how many customers, and the first value of each as JSON, counted.

    `holds`: whether a comparison that cannot be made is true.
    """

    label: str
    kind: EncounterKind
    source: str
    holds: bool
    customers: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        self.customers += 1
        text = json.dumps(value, default=str, ensure_ascii=False)
        text = text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
        if text in self.values or len(self.values) < _MAX_VALUES:
            self.values[text] += 1


def describe(finding: RuleFinding) -> str:
    """Return a finding as a sentence: "`optOut != true`: 412 customers hold "yes": it cannot be compared…"."""
    customers = f"{finding.customers:,} customer{' holds' if finding.customers == 1 else 's hold'}"
    values = ", ".join(text for text, _ in finding.values.most_common(3))
    more = ", …" if len(finding.values) > 3 else ""
    return f"`{finding.source}`: {customers} {values}{more}: {_consequence(finding)}"


def _consequence(finding: RuleFinding) -> str:
    match finding.kind:
        case EncounterKind.INCOMPARABLE:
            return f"it cannot be compared, so this is {'true' if finding.holds else 'false'} for them"
        case EncounterKind.CONVERTED:
            return "it is not of the type that it is compared or calculated as, and is converted or left out"
        case EncounterKind.ZONE:
            return "date-times are compared by their instants, and read by the clock of their own zone"
        case EncounterKind.MONTH_END:
            return "some months lack that day: a month or year is complete on the first of the next one"


class RuleValues:
    """Findings about rules, collected customer by customer."""

    def __init__(self, schema: CustomerSchema, rules: Sequence[ObservedRule], now_us: int) -> None:
        self.needs_events = any(rule.needs_events for rule in rules)
        self._schema = schema
        self._rules = rules
        self._now_us = now_us
        self._findings: dict[tuple[int, EncounterKind, str], RuleFinding] = {}

    @property
    def findings(self) -> list[RuleFinding]:
        """The findings in the order of the rules."""
        return [finding for _, finding in sorted(self._findings.items(), key=lambda item: item[0][0])]

    def add_all(self, customers: Iterable[tuple[Customer, Sequence[Attributes]]]) -> None:
        """Evaluate the rules for customers, each with its events."""
        for customer, events in customers:
            self.add(customer, events)

    def add(self, customer: Customer, events: Sequence[Attributes]) -> None:
        """Evaluate the rules for a customer with these events."""
        document = profile_document(
            customer.attributes, customer.identities, customer.membership, self._schema.audiences
        )
        environment = Environment(document, self._now_us, events=events, audience_ids=self._schema.audience_ids)
        for number, rule in enumerate(self._rules):
            met: dict[tuple[EncounterKind, str], Encounter] = {}
            for prepared in self._environments(rule, environment, events):
                for encounter in encounters(rule.compiled.checked, prepared):
                    start, end = encounter.span
                    source = rule.compiled.text[start:end] if start >= 0 else rule.compiled.text
                    met.setdefault((encounter.kind, source), encounter)
            for (kind, source), encounter in met.items():
                key = (number, kind, source)
                if key not in self._findings:
                    self._findings[key] = RuleFinding(rule.label, kind, source, encounter.holds)
                self._findings[key].add(encounter.value)

    def _environments(
        self, rule: ObservedRule, environment: Environment, events: Sequence[Attributes]
    ) -> Iterator[Environment]:
        if rule.of_events:
            for event in events:
                yield Environment(None, self._now_us, events=event, variables={"body": {"xdmEntity": event}})
            return
        for offer in rule.offers:
            environment.offer = offer
            yield environment


async def observe_customers(
    reader: StoreReader,
    state: ContainerState,
    rules: Sequence[ObservedRule],
    now_us: int,
    *,
    limits: EventLimits = EVENT_LIMITS,
    on_progress: Callable[[int], None] = lambda _customers: None,
) -> list[RuleFinding]:
    """Evaluate rules for every customer of a container, page by page. `on_progress`: gets customers per page."""
    values = RuleValues(state.customer_schema, rules, now_us)
    after = 0
    while rules and (page := await reader.page(state.container.id, after, _PAGE)):
        await observe_page(reader, state.container.id, values, page, now_us - limits.max_age_us)
        after = page[-1].key
        on_progress(len(page))
    return values.findings


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledFindings:
    """Comparisons of a rule that cannot be made for customers who were `evaluated`; `total`: how many there are."""

    total: int
    evaluated: int
    findings: Sequence[RuleFinding]


class CustomerSampling:
    """Evaluates rules for a bounded number of stored customers, one rule at a time."""

    def __init__(self, store: StoreReader, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = asyncio.Lock()

    async def incomparable(
        self,
        state: ContainerState,
        expression: str | Mapping[str, Any],
        *,
        kind: str,
        roots: Collection[str],
    ) -> SampledFindings:
        """Return the comparisons that cannot be made, from customers who are evaluated within `MAX_SECONDS`.

        They are all of up to 2,000, else a sample. Raises `StoreUnavailable`.
        """
        container_id, now_us = state.container.id, self._clock()
        compiled = compile_expression(expression, kind=kind, roots=roots, schema=schema_of(state.catalog))
        total, _, _ = await self._store.customer_count(container_id)
        if isinstance(compiled, CompileErrors):
            return SampledFindings(total=total, evaluated=0, findings=())
        values = RuleValues(state.customer_schema, [observed_rule(state, "", compiled)], now_us)
        evaluated = 0
        async with self._lock:
            until = time.monotonic() + MAX_SECONDS
            async with aclosing(sample_pages(self._store, container_id, _SLICE)) as pages:
                async for page in pages:
                    if time.monotonic() >= until:
                        break
                    await observe_page(self._store, container_id, values, page, now_us - EVENT_LIMITS.max_age_us)
                    evaluated += len(page)
        findings = [finding for finding in values.findings if finding.kind is EncounterKind.INCOMPARABLE]
        return SampledFindings(total=total, evaluated=evaluated, findings=findings)


async def observe_page(
    reader: StoreReader, container_id: str, values: RuleValues, page: Sequence[Customer], since_us: int
) -> None:
    """Evaluate the rules for some customers."""
    events: list[Sequence[Attributes]] = [()] * len(page)
    if values.needs_events:
        events = [await reader.events(container_id, [customer.key], since_us) for customer in page]
    await asyncio.to_thread(values.add_all, zip(page, events, strict=True))


def live_rules(state: ContainerState) -> list[ObservedRule]:
    """Return the audiences, and the rules, formulas and cap queries of live decisions. Broken ones are left out.

    Thresholds of limits are left out: earlier versions did not evaluate them.
    """
    catalog = state.catalog
    audiences = [
        ObservedRule(label=rule_label(catalog.of_kind(EntityKind.AUDIENCE)[key]), compiled=audience.rule)
        for key, audience in state.customer_schema.audiences.items()
        if audience.rule is not None
    ]
    offers, ids = _live_objects(state)
    schema = schema_of(catalog)
    rules = []
    for entity_id in (*ids, *offers):
        instance = catalog.by_id(entity_id)
        if instance is None:
            continue
        for expression in expressions_of(instance):
            if expression.kind == "threshold":
                continue
            compiled = expression.compile(schema, saving=False)
            if isinstance(compiled, CompileErrors):
                continue
            rules.append(
                ObservedRule(
                    label=rule_label(instance),
                    compiled=compiled,
                    offers=_examples(compiled, offers.values()),
                    of_events=expression.kind == "cap",
                )
            )
    return audiences + rules


def observed_rule(state: ContainerState, label: str, compiled: CompiledRule | CompiledFormula) -> ObservedRule:
    """Return a rule that is no part of the library; one that reads `offer` with the candidates of live decisions."""
    offers, _ = _live_objects(state)
    return ObservedRule(label=label, compiled=compiled, offers=_examples(compiled, offers.values()))


def _live_objects(state: ContainerState) -> tuple[dict[str, PersonalizedOffer], list[str]]:
    """Return the candidates of live decisions by id, and the ids of the rules and formulas that apply to them."""
    offers: dict[str, PersonalizedOffer] = {}
    ids: dict[str, None] = {}

    def add(constraint: BoundConstraint | None, formula: BoundFormula | None) -> None:
        ids.update((rule.id, None) for rule in (constraint.rules if constraint is not None else ()))
        if formula is not None:
            ids[formula.id] = None

    for decision in state.publisher.snapshot.decisions.values():
        for scope in decision.scopes.values():
            for criterion in (criterion for group in scope.groups for criterion in group):
                add(criterion.constraint, criterion.formula)
                for candidate in criterion.candidates:
                    add(candidate.bound_offer.constraint, candidate.formula)
                    offers[candidate.bound_offer.offer.id] = candidate.bound_offer.offer
    return offers, list(ids)


def _examples(
    compiled: CompiledRule | CompiledFormula, offers: Iterable[PersonalizedOffer]
) -> Sequence[Attributes | None]:
    """Return offers that differ in the types of what a rule reads of them; None if it reads nothing."""
    paths = [read.split(".")[1:] for read in sorted(compiled.reads) if read.split(".")[0] == "offer"]
    if not paths:
        return (None,)
    examples: dict[tuple[str, ...], Attributes] = {}
    for offer in offers:
        types = tuple(_type_name(path(offer.attributes, *steps)) for steps in paths)
        if len(examples) < _MAX_OFFERS:
            examples.setdefault(types, offer.attributes)
    return list(examples.values())


def _type_name(value: Any) -> str:
    """Return the type of a value as far as it matters to comparisons: `3` and `"3"` differ, and so does `"x"`."""
    if isinstance(value, str):
        readings = (parse_json_number(value), parse_boolean(value), parse_time(value), as_moment(value))
        return "text " + " ".join(str(reading is not None) for reading in readings)
    if is_list(value):
        return f"list {sorted(set(map(_type_name, value)))}"
    return type(value).__name__
