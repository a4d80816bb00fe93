"""Customer schema of a container: audiences, identity namespaces and merge policies in force."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from proffer.model.audience import AudienceDefinition, next_standing, read_audience
from proffer.model.customer import Attributes, Customer, Events, Membership, Qualify, Standing
from proffer.model.identity import IdentityField, Namespaces
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.merging import TIMESTAMP_ORDER, MergePolicy
from proffer.model.xdm import profile_document, segment_membership, with_ups
from proffer.pql import CompiledRule, Environment, compile_rule
from proffer.service.library.customer_rules_batch import ColumnAnswers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVENT_ROOT = b"xEvent"


@dataclass(frozen=True, slots=True)
class BoundAudience:
    """An audience with its compiled rule; None for a list or a rule that does not compile."""

    definition: AudienceDefinition
    rule: CompiledRule | None
    reads_events: bool


class CustomerRules:
    """Audiences, namespaces and merge policies in force, kept in step with the catalog."""

    def __init__(self) -> None:
        self.audiences: dict[str, BoundAudience] = {}
        self.namespaces = Namespaces()
        self._codes: dict[str, str] = {}
        self._fields: dict[str, IdentityField] = {}
        self._policies: dict[str, MergePolicy] = {TIMESTAMP_ORDER.id: TIMESTAMP_ORDER}
        self._default: dict[str, None] = {}
        self._read_events: set[str] = set()

    @property
    def reads_events(self) -> bool:
        """Whether any object of the library may read experience events."""
        return bool(self._read_events)

    def take_in(self, versions: Iterable[Instance]) -> None:
        """Apply these versions, in order."""
        for version in versions:
            key = version.instance_id
            alive = not version.deleted
            reads = alive and reads_events(version)
            (self._read_events.add if reads else self._read_events.discard)(key)
            follow = _FOLLOW.get(version.kind)
            if follow is not None:
                follow(self, key, version if alive else None)

    def policy(self, policy_id: str | None) -> MergePolicy | None:
        """Return a merge policy by id, or the default for None; None if the id is unknown."""
        if policy_id is not None:
            return self._policies.get(policy_id)
        default = next(reversed(self._default), TIMESTAMP_ORDER.id)
        return self._policies[default]

    def qualify(self, *, batch: bool = False, many: bool = False) -> Qualify | None:
        """Return the audience evaluator for single changes or for `batch`; None without audiences.

        `by_page`: customers come in pages, as they always do in batch.
        """
        if not self.audiences:
            return None
        asked = tuple(
            one
            for one in self.audiences.values()
            if one.rule is not None and (batch or one.definition.streaming)
        )
        if not batch and not many:
            return _Evaluation(frozenset(self.audiences), asked)
        return _BatchEvaluation(frozenset(self.audiences), asked)

    def _audience(self, key: str, version: Instance | None) -> None:
        if version is None:
            self.audiences.pop(key, None)
            return
        definition = read_audience(version)
        rule = None
        if definition.condition is not None:
            compiled = compile_rule(definition.condition, name=definition.name)
            rule = compiled if isinstance(compiled, CompiledRule) else None
        self.audiences[key] = BoundAudience(definition, rule, reads_events(version))

    def _namespace(self, key: str, version: Instance | None) -> None:
        if version is None:
            self._codes.pop(key, None)
        else:
            self._codes[key] = version.document["code"]
        self.namespaces = Namespaces(self._codes.values(), self._fields.values())

    def _descriptor(self, key: str, version: Instance | None) -> None:
        if version is None:
            self._fields.pop(key, None)
        else:
            self._fields[key] = identity_field(version.document)
        self.namespaces = Namespaces(self._codes.values(), self._fields.values())

    def _merge_policy(self, key: str, version: Instance | None) -> None:
        self._policies.pop(key, None)
        self._default.pop(key, None)
        if version is None:
            return
        merge: Mapping[str, Any] = version.document["attributeMerge"]
        by_dataset = merge["type"] == "dataSetPrecedence"
        order = tuple(merge.get("order") or ()) if by_dataset else ()
        self._policies[key] = MergePolicy(id=key, precedence=order)
        if version.document.get("default"):
            self._default[key] = None


def identity_field(descriptor: Mapping[str, Any]) -> IdentityField:
    """Return the identity field of a descriptor; its path is without `xdm:` prefixes."""
    steps = descriptor["xdm:sourceProperty"].strip("/").split("/")
    return IdentityField(
        schema=descriptor["xdm:sourceSchema"],
        path=tuple(step.removeprefix("xdm:") for step in steps),
        namespace=descriptor["xdm:namespace"],
        primary=bool(descriptor.get("xdm:isPrimary")),
    )


class Asking:
    """Evaluate one ad-hoc rule for customers, without changing memberships."""

    def __init__(self, rules: CustomerRules, rule: CompiledRule) -> None:
        self._known = rules.audiences
        self._rule = rule
        self.needs_events = any(path.split(".")[0] == "xEvent" for path in rule.reads)

    def holds(self, customer: Customer, events: Sequence[Attributes], now_us: int) -> bool:
        document = profile_document(
            customer.attributes, customer.identities, customer.membership, self._known
        )
        now = _EPOCH + timedelta(microseconds=now_us)
        return self._rule.holds(Environment(profile=document, now=now, events=events))


def reads_events(version: Instance) -> bool:
    """Return whether anything in the document may read experience events."""
    return _EVENT_ROOT in msgspec.json.encode(dict(version.document))


class _Evaluation:
    """Evaluate audiences in order of creation, so that a later one may refer to an earlier one."""

    def __init__(self, known: frozenset[str], asked: tuple[BoundAudience, ...]) -> None:
        self._known = known
        self._asked = [(one.definition.id, one.rule) for one in asked if one.rule is not None]
        self._needs_events = any(one.reads_events for one in asked)

    def __call__(self, customer: Customer, events: Events, now_us: int) -> Membership:
        membership = {
            audience: standing
            for audience, standing in customer.membership.items()
            if audience in self._known
        }
        asking: _Asked | None = None  # created on first use: building it is most of the work
        for (audience, rule), said in zip(self._asked, self._said(customer.key), strict=True):
            holds = said
            if holds is None:
                if asking is None:
                    happened = events() if self._needs_events else ()
                    asking = _Asked(customer, membership, self._known, happened, now_us)
                holds = rule.holds(asking.environment)
            known = membership.get(audience)
            standing = next_standing(known, holds, now_us)
            if standing is not None and standing is not known:
                membership[audience] = standing
                if asking is not None:
                    asking.learn(audience, standing)
        return membership

    def _said(self, customer: int) -> Sequence[bool | None]:
        """Return precomputed results per audience; None where the rule must be evaluated."""
        del customer
        return [None] * len(self._asked)


class _Asked:
    """Evaluation environment of one customer, updated as memberships change."""

    def __init__(
        self,
        customer: Customer,
        membership: Membership,
        known: frozenset[str],
        happened: Sequence[Attributes],
        now_us: int,
    ) -> None:
        document = profile_document(customer.attributes, customer.identities, membership, known)
        self._known = known
        self._ups: dict[str, Any] | None = None
        self.environment = Environment(
            profile=document, now=_EPOCH + timedelta(microseconds=now_us), events=happened
        )

    def learn(self, audience: str, standing: Standing) -> None:
        ups = segment_membership({audience: standing}, self._known)
        if self._ups is not None:
            self._ups.update(ups)
            return
        profile = self.environment.profile
        profile["segmentMembership"] = with_ups(profile.get("segmentMembership"), ups)
        self._ups = profile["segmentMembership"]["ups"]  # a copy of our own


class _BatchEvaluation(_Evaluation):
    """Audience evaluator for pages of customers: vectorised where the rule allows it."""

    def __init__(self, known: frozenset[str], asked: tuple[BoundAudience, ...]) -> None:
        super().__init__(known, asked)
        self._columns = ColumnAnswers(self._asked)

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None:
        self._columns.prepare(customers, now_us)

    def _said(self, customer: int) -> Sequence[bool | None]:
        return self._columns.answers(customer) or super()._said(customer)


_FOLLOW: Mapping[EntityKind, Callable[[CustomerRules, str, Instance | None], None]] = {
    EntityKind.AUDIENCE: CustomerRules._audience,  # noqa: SLF001 - its own table
    EntityKind.NAMESPACE: CustomerRules._namespace,  # noqa: SLF001
    EntityKind.MERGE_POLICY: CustomerRules._merge_policy,  # noqa: SLF001
    EntityKind.DESCRIPTOR: CustomerRules._descriptor,  # noqa: SLF001
}
