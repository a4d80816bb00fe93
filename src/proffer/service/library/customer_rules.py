"""Customer schema of a container: audiences, identity namespaces and merge policies in force."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import msgspec

from proffer.model.audience import AudienceDefinition, next_membership, read_audience
from proffer.model.constraint import NamedAudience, audience_ids
from proffer.model.customer import (
    Attributes,
    AudienceMembership,
    Customer,
    EventLoader,
    MembershipEvaluator,
    Memberships,
)
from proffer.model.field_types import FieldTypes, RecordTypes
from proffer.model.identity import IdentityField, Namespaces
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.merging import TIMESTAMP_ORDER, MergePolicy
from proffer.model.parse import named_audience
from proffer.model.xdm import profile_document, segment_membership, with_ups_segments
from proffer.pql import XDM_FIELDS, CompiledRule, Environment, compile_rule, schema_with
from proffer.service.library.customer_rules_batch import BatchEvaluator

_EVENT_ROOT = b"xEvent"


@dataclass(frozen=True, slots=True)
class CompiledAudience:
    """An audience with its compiled rule; None for a list or a rule that does not compile."""

    definition: AudienceDefinition
    rule: CompiledRule | None
    reads_events: bool


class CustomerSchema:
    """Audiences, namespaces and merge policies in force, kept consistent with the catalog."""

    def __init__(self) -> None:
        self.audiences: dict[str, CompiledAudience] = {}
        self.audience_ids: Mapping[str, str] = {}
        self._named_audiences: dict[str, NamedAudience] = {}
        self.namespaces = Namespaces()
        self.record_types = core_types()
        self.context_types: Mapping[str, FieldTypes] = {}
        """Field types of context data, by context type."""
        self._schemas: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._codes: dict[str, str] = {}
        self._fields: dict[str, IdentityField] = {}
        self._policies: dict[str, MergePolicy] = {TIMESTAMP_ORDER.id: TIMESTAMP_ORDER}
        self._default_policies: dict[str, None] = {}
        self._event_readers: set[str] = set()
        self.field_types = schema_with({})
        """Types of the fields that audiences compare by; loaded schemas, else XDM."""

    @property
    def reads_events(self) -> bool:
        """Whether any object of the library may read experience events."""
        return bool(self._event_readers)

    def apply(self, versions: Sequence[Instance]) -> None:
        """Apply these versions, in order; schemas first, so that each audience is compiled once."""
        schemas = [version for version in versions if version.kind is EntityKind.SCHEMA]
        if schemas:
            self._set_schemas(schemas)
        for version in versions:
            key = version.instance_id
            alive = not version.deleted
            reads = alive and may_read_events(version)
            (self._event_readers.add if reads else self._event_readers.discard)(key)
            handler = _HANDLERS.get(version.kind)
            if handler is not None:
                handler(self, key, version if alive else None)
        if any(version.kind is EntityKind.AUDIENCE for version in versions):
            self.audience_ids = audience_ids(self._named_audiences.values())

    def policy(self, policy_id: str | None) -> MergePolicy | None:
        """Return a merge policy by id, or the default for None; None if the id is unknown."""
        if policy_id is not None:
            return self._policies.get(policy_id)
        default = next(reversed(self._default_policies), TIMESTAMP_ORDER.id)
        return self._policies[default]

    def qualify(self, *, batch: bool = False, by_page: bool = False) -> MembershipEvaluator | None:
        """Return the audience evaluator for single changes or for `batch`; None without audiences.

        `by_page`: customers come in pages, as they always do in batch.
        """
        if not self.audiences:
            return None
        audiences = tuple(
            audience
            for audience in self.audiences.values()
            if audience.rule is not None and (batch or audience.definition.streaming)
        )
        if not batch and not by_page:
            return _AudienceEvaluator(frozenset(self.audiences), audiences, self.audience_ids)
        return _BatchAudienceEvaluator(frozenset(self.audiences), audiences, self.audience_ids)

    def _audience(self, key: str, version: Instance | None) -> None:
        if version is None:
            self.audiences.pop(key, None)
            self._named_audiences.pop(key, None)
        else:
            self.audiences[key] = self._compile(version)
            self._named_audiences[key] = named_audience(version)

    def _compile(self, version: Instance) -> CompiledAudience:
        definition = read_audience(version)
        return CompiledAudience(definition, self._compile_rule(definition), may_read_events(version))

    def _compile_rule(self, definition: AudienceDefinition) -> CompiledRule | None:
        if definition.condition is None:
            return None
        compiled = compile_rule(definition.condition, name=definition.name, schema=self.field_types)
        return compiled if isinstance(compiled, CompiledRule) else None

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

    def _set_schemas(self, versions: Iterable[Instance]) -> None:
        for version in versions:
            if version.deleted:
                self._schemas.pop(version.instance_id, None)
            else:
                self._schemas[version.instance_id] = (version.name, version.document["fields"])
        declared = dict(self._schemas.values())
        self.record_types = RecordTypes.of(record_fields(declared)) if declared else core_types()
        self.context_types = {
            root.removeprefix("@"): FieldTypes(fields, closed=True)
            for root, fields in declared.items()
            if root.startswith("@")
        }
        self.field_types = schema_with(declared).lenient()
        for audience, compiled in self.audiences.items():
            self.audiences[audience] = replace(compiled, rule=self._compile_rule(compiled.definition))

    def _merge_policy(self, key: str, version: Instance | None) -> None:
        self._policies.pop(key, None)
        self._default_policies.pop(key, None)
        if version is None:
            return
        merge: Mapping[str, Any] = version.document["attributeMerge"]
        by_dataset = merge["type"] == "dataSetPrecedence"
        order = tuple(merge.get("order") or ()) if by_dataset else ()
        self._policies[key] = MergePolicy(id=key, precedence=order)
        if version.document.get("default"):
            self._default_policies[key] = None


def record_fields(loaded: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the declared fields of profiles and events: those of the loaded schemas, by root, else the XDM core's.

    Identity maps are left out: they are read by their own rules.
    """
    return {root: {**loaded.get(root, XDM_FIELDS[root]), "identityMap": "any"} for root in ("profile", "xEvent")}


@cache
def core_types() -> RecordTypes:
    """Return the types of the XDM core, which all containers without schemas share."""
    return RecordTypes.of(record_fields({}))


def identity_field(descriptor: Mapping[str, Any]) -> IdentityField:
    """Return the identity field of a descriptor; its path is without `xdm:` prefixes."""
    steps = descriptor["xdm:sourceProperty"].strip("/").split("/")
    return IdentityField(
        schema=descriptor["xdm:sourceSchema"],
        path=tuple(step.removeprefix("xdm:") for step in steps),
        namespace=descriptor["xdm:namespace"],
        primary=bool(descriptor.get("xdm:isPrimary")),
    )


class AdHocRule:
    """Evaluate one ad-hoc rule for customers, without changing memberships."""

    def __init__(self, schema: CustomerSchema, rule: CompiledRule) -> None:
        self._audiences = schema.audiences
        self._audience_ids = schema.audience_ids
        self._rule = rule
        self.needs_events = any(path.split(".")[0] == "xEvent" for path in rule.reads)

    def holds(self, customer: Customer, events: Sequence[Attributes], now_us: int) -> bool:
        document = profile_document(customer.attributes, customer.identities, customer.membership, self._audiences)
        environment = Environment(profile=document, now=now_us, events=events, audience_ids=self._audience_ids)
        return self._rule.holds(environment)


def may_read_events(version: Instance) -> bool:
    """Return whether anything in the document may read experience events."""
    return _EVENT_ROOT in msgspec.json.encode(dict(version.document))


class _AudienceEvaluator:
    """Evaluate audiences in order of creation. A later one may refer to an earlier one."""

    def __init__(
        self,
        existing: frozenset[str],
        audiences: tuple[CompiledAudience, ...],
        audience_ids: Mapping[str, str],
    ) -> None:
        self._existing = existing
        self._audience_ids = audience_ids
        self._rules = [(audience.definition.id, audience.rule) for audience in audiences if audience.rule is not None]
        self._needs_events = any(audience.reads_events for audience in audiences)

    def __call__(self, customer: Customer, events: EventLoader, now_us: int) -> Memberships:
        membership = {
            audience: audience_membership
            for audience, audience_membership in customer.membership.items()
            if audience in self._existing
        }
        customer_environment: _CustomerEnvironment | None = (
            None  # created on first use: building it is most of the work
        )
        for (audience, rule), batch_result in zip(self._rules, self._batch_results(customer.key), strict=True):
            holds = batch_result
            if holds is None:
                if customer_environment is None:
                    event_documents = events() if self._needs_events else ()
                    customer_environment = _CustomerEnvironment(
                        customer, membership, self._existing, event_documents, now_us, self._audience_ids
                    )
                holds = rule.holds(customer_environment.environment)
            current_membership = membership.get(audience)
            audience_membership = next_membership(current_membership, holds, now_us)
            if audience_membership is not None and audience_membership is not current_membership:
                membership[audience] = audience_membership
                if customer_environment is not None:
                    customer_environment.update(audience, audience_membership)
        return membership

    def _batch_results(self, customer: int) -> Sequence[bool | None]:
        """Return precomputed results per audience; None where the rule must be evaluated."""
        del customer
        return [None] * len(self._rules)


class _CustomerEnvironment:
    """Evaluation environment of one customer, updated as memberships change."""

    def __init__(
        self,
        customer: Customer,
        membership: Memberships,
        existing: frozenset[str],
        events: Sequence[Attributes],
        now_us: int,
        audience_ids: Mapping[str, str],
    ) -> None:
        document = profile_document(customer.attributes, customer.identities, membership, existing)
        self._existing = existing
        self._ups: dict[str, Any] | None = None
        self.environment = Environment(profile=document, now=now_us, events=events, audience_ids=audience_ids)

    def update(self, audience: str, audience_membership: AudienceMembership) -> None:
        ups = segment_membership({audience: audience_membership}, self._existing)
        if self._ups is not None:
            self._ups.update(ups)
            return
        profile = self.environment.profile
        profile["segmentMembership"] = with_ups_segments(profile.get("segmentMembership"), ups)
        self._ups = profile["segmentMembership"]["ups"]  # a copy of our own


class _BatchAudienceEvaluator(_AudienceEvaluator):
    """Audience evaluator for pages of customers: vectorised where the rule allows it."""

    @cached_property
    def _batch(self) -> BatchEvaluator:
        return BatchEvaluator(self._rules)

    def prepare(self, customers: Sequence[Customer], now_us: int) -> None:
        self._batch.prepare(customers, now_us)

    def _batch_results(self, customer: int) -> Sequence[bool | None]:
        return self._batch.results(customer) or super()._batch_results(customer)


_HANDLERS: Mapping[EntityKind, Callable[[CustomerSchema, str, Instance | None], None]] = {
    EntityKind.AUDIENCE: CustomerSchema._audience,  # noqa: SLF001 - its own table
    EntityKind.NAMESPACE: CustomerSchema._namespace,  # noqa: SLF001
    EntityKind.MERGE_POLICY: CustomerSchema._merge_policy,  # noqa: SLF001
    EntityKind.DESCRIPTOR: CustomerSchema._descriptor,  # noqa: SLF001
}
