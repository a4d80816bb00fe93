"""Audiences: definitions, batch evaluation, size estimates, and uploaded lists."""

import asyncio
import math
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from proffer.errors import Conflict, Invalid, NotFound, Violation
from proffer.model.customer import (
    EVENT_LIMITS,
    AudienceMembership,
    Customer,
    EventLimits,
    EventLoader,
    MembershipChange,
    MembershipEvaluator,
    Memberships,
    MembershipStatus,
)
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.pql import CompiledRule, CompileErrors, compile_rule
from proffer.service.library.customer_rules import AdHocRule
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService, Precondition, WriteReceipt
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.rules.audience_users import users_of_audience
from proffer.service.rules.check import schema_of, violations_of
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

IS_AUDIENCE = Precondition(kind=EntityKind.AUDIENCE)
EXACT_BELOW = 1_000_000
"""Below this number of customers an estimate evaluates all of them."""
_SAMPLE_SIZE = 100_000
_PAGE = 200
"""Customers that are held, and written, at once."""
_PREVIEW_SIZE = 100
_Z_95 = 1.96

Document = Mapping[str, Any]
EvaluationCallback = Callable[[int], None]
"""Called with the number of customers evaluated since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """Result of a batch: customers evaluated or listed, and how many memberships changed or ended."""

    customers: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated number of customers a rule matches. `error`: standard error of `size`; 0 if exact.

    `packed_preview`: the identities of the first matching customers, at most 100, in MessagePack, because an
    estimate is kept for long after its customers. `warnings`: about the rule.
    """

    size: int
    total: int
    evaluated: int
    matched: int
    error: float
    packed_preview: bytes = msgspec.msgpack.encode(())
    warnings: tuple[Violation, ...] = ()

    @property
    def preview(self) -> list[tuple[IdentityKey, ...]]:
        """The identities of the first matching customers."""
        return msgspec.msgpack.decode(self.packed_preview, type=list[tuple[IdentityKey, ...]])

    @property
    def interval(self) -> tuple[int, int]:
        """The 95 % confidence interval of the size."""
        spread = _Z_95 * self.error
        return max(0, round(self.size - spread)), min(self.total, round(self.size + spread))


class AudienceService:
    """Use cases of audiences. Definitions are objects of the catalog."""

    def __init__(
        self,
        store: ProfileStore,
        catalog: CatalogService,
        clock: Clock,
        limits: EventLimits = EVENT_LIMITS,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._clock = clock
        self._limits = limits

    async def create(self, access: AuthorizedContainer, document: Document) -> WriteReceipt:
        """Create an audience. Its `id`, if given, must be a UUID and is kept."""
        requested_id = document.get("id")
        return await self._catalog.create(
            access,
            EntityKind.AUDIENCE,
            {name: value for name, value in document.items() if name != "id"},
            instance_id=_uuid(requested_id) if requested_id is not None else None,
        )

    async def revise(self, access: AuthorizedContainer, audience: str, changes: Document) -> WriteReceipt:
        """Update members of a definition; null or missing ones stay unchanged."""

        def revision(before: Instance) -> Document:
            document = {**before.document}
            document |= {name: value for name, value in changes.items() if value is not None}
            document.pop("id", None)
            return document

        return await self._catalog.revise(access, audience, revision, IS_AUDIENCE)

    async def delete(self, access: AuthorizedContainer, audience: str) -> Instance:
        """Delete an audience that no offer, decision, rule or content names. Raises `Conflict`."""
        return await self._catalog.delete(access, audience, IS_AUDIENCE, users_of_audience)

    def get(self, access: AuthorizedContainer, audience: str) -> Instance:
        return self._catalog.get(access, audience, IS_AUDIENCE)

    def find(self, access: AuthorizedContainer, audience: str) -> Instance:
        """Return the audience of this id, or the only one of this name. Raises `NotFound` and `Conflict`."""
        matches = [each for each in self.all_audiences(access) if each.instance_id == audience.lower()]
        matches = matches or [each for each in self.all_audiences(access) if each.document["name"] == audience]
        if not matches:
            raise NotFound(f"there is no audience `{audience[:200]}`", code="audience-not-found")
        if len(matches) > 1:
            ids = ", ".join(f"`{each.instance_id}`" for each in matches)
            raise Conflict(
                f"{len(matches)} audiences have the name `{audience[:200]}`: use one of the ids {ids}",
                code="ambiguous-name",
            )
        return matches[0]

    def all_audiences(self, access: AuthorizedContainer) -> list[Instance]:
        """Return all audiences of a container, newest first."""
        audiences = self._catalog.of_kind(access, EntityKind.AUDIENCE)
        return sorted(audiences, key=lambda audience: (audience.created_us, audience.revision), reverse=True)

    async def evaluate(
        self, state: ContainerState, on_progress: EvaluationCallback | None = None, *, pause_factor: float = 0
    ) -> EvaluationResult:
        """Evaluate every audience for every customer, page by page, alongside concurrent writes.

        After each page it pauses for `pause_factor` times the page's duration.
        """
        qualify = state.customer_schema.qualify(batch=True)
        total, _, _ = await self._store.customer_count(state.container.id)
        if qualify is None:
            return EvaluationResult(customers=total, changed=0)
        changed = await self._requalify_all(state, qualify, on_progress, pause_factor)
        return EvaluationResult(customers=total, changed=changed)

    async def _requalify_all(
        self,
        state: ContainerState,
        qualify: MembershipEvaluator,
        on_progress: EvaluationCallback | None = None,
        pause_factor: float = 0,
    ) -> int:
        """Evaluate the memberships of all customers, page by page; return how many changed."""
        changed, after = 0, 0
        while True:
            started = time.perf_counter()
            last, page_changed = await self._store.requalify(
                state.container.id,
                after,
                _PAGE,
                now_us=self._clock(),
                qualify=qualify,
                limits=self._limits,
            )
            if last is None:
                return changed
            changed, after = changed + page_changed, last
            if on_progress is not None:
                on_progress(_PAGE)
            if pause_factor:
                await asyncio.sleep((time.perf_counter() - started) * pause_factor)

    async def check(
        self, access: AuthorizedContainer, condition: str | Document
    ) -> tuple[CompiledRule, tuple[Violation, ...]]:
        """Return the rule of an estimate and the warnings about it. Raises `Invalid` with its errors."""
        observed = await self._catalog.observed_profiles(access)
        compiled = compile_rule(
            condition,
            name="estimate",
            schema=schema_of(access.state.catalog).with_profiles(observed),
            saving=True,
            event_history=True,
        )
        violations = violations_of(compiled.diagnostics, compiled.text, "$.predicateExpression")
        if isinstance(compiled, CompileErrors):
            raise Invalid.of(violations)
        return compiled, tuple(violations)

    async def estimate(self, access: AuthorizedContainer, condition: str | Document) -> Estimate:
        """Estimate how many customers match a rule: exact below a million, else from a sample.

        Raises `Invalid` for an invalid rule.
        """
        state = access.state
        compiled, warnings = await self.check(access, condition)
        rule = AdHocRule(state.customer_schema, compiled)
        total, low, high = await self._store.customer_count(state.container.id)
        preview: list[tuple[IdentityKey, ...]] = []
        if total < EXACT_BELOW:
            evaluated, matched = await self._count_all(state, rule, preview)
            size, error = matched, 0.0
        else:
            evaluated, matched = await self._count_sample(state, rule, low, high, preview)
            share = matched / evaluated if evaluated else 0.0
            size = round(share * total)
            error = total * math.sqrt(share * (1 - share) / evaluated) if evaluated else float(total)
        return Estimate(
            size=size,
            total=total,
            evaluated=evaluated,
            matched=matched,
            error=error,
            packed_preview=msgspec.msgpack.encode(preview),
            warnings=warnings,
        )

    async def _count_all(
        self, state: ContainerState, rule: AdHocRule, preview: list[tuple[IdentityKey, ...]]
    ) -> tuple[int, int]:
        evaluated = matched = after = 0
        while page := await self._store.page(state.container.id, after, _PAGE):
            matched += await self._count_matches(state, rule, page, preview)
            evaluated, after = evaluated + len(page), page[-1].key
        return evaluated, matched

    async def _count_sample(
        self, state: ContainerState, rule: AdHocRule, low: int, high: int, preview: list[tuple[IdentityKey, ...]]
    ) -> tuple[int, int]:
        generator = random.Random(high)  # noqa: S311 - a sample; seeded, so repeatable until customers are added
        evaluated = matched = 0
        for _ in range(0, _SAMPLE_SIZE, _PAGE):
            keys = [generator.randint(low, high) for _ in range(_PAGE)]
            page = await self._store.customers_by_key(state.container.id, keys)
            matched += await self._count_matches(state, rule, page, preview)
            evaluated += len(page)
        return evaluated, matched

    async def _count_matches(
        self,
        state: ContainerState,
        rule: AdHocRule,
        page: Sequence[Customer],
        preview: list[tuple[IdentityKey, ...]],
    ) -> int:
        """Return how many customers of a page match; the first ones are added to `preview`."""
        now_us = self._clock()
        if rule.needs_events:
            since_us = now_us - self._limits.max_age_us
            matches = []
            for customer in page:
                events = await self._store.events(state.container.id, [customer.key], since_us)
                if rule.holds(customer, events, now_us):
                    matches.append(customer)
        else:
            matches = await asyncio.to_thread(
                lambda: [customer for customer in page if rule.holds(customer, (), now_us)]
            )
        preview += [customer.identities for customer in matches[: _PREVIEW_SIZE - len(preview)]]
        return len(matches)

    async def upload(
        self,
        access: AuthorizedContainer,
        audience: str,
        lines: Iterable[tuple[IdentityKey, Document]],
        *,
        listed: int,
        replace_all: bool = False,
    ) -> EvaluationResult:
        """Replace a list audience's members by these identities with their columns; `listed`: how many.

        Unknown identities become customers without attributes. Raises `NotFound` unless the audience
        is a list, and `Conflict` if it has more than twice as many members as listed, unless `replace_all`.
        """
        state = access.state
        bound = state.customer_schema.audiences.get(audience.lower())
        if bound is None or bound.definition.condition is not None:
            raise NotFound(f"there is no list audience `{audience}`", code="audience-not-found")
        audience = audience.lower()
        if not replace_all:
            await self._check_size(access, audience, listed)
        started_us = self._clock()
        count = 0
        chunk: list[MembershipChange] = []
        for key, columns in lines:
            chunk.append(MembershipChange(identities=(key,), audience=audience, columns=columns, stamped_us=started_us))
            count += 1
            if len(chunk) == _PAGE:
                await self._add_members(state, chunk)
                chunk = []
        if chunk:
            await self._add_members(state, chunk)
        removed = await self._remove_unlisted(state, audience, started_us)
        return EvaluationResult(customers=count, changed=removed)

    async def count_members(self, access: AuthorizedContainer, audience: str) -> int:
        """Return the number of customers who are in an audience. Reads all customers."""
        members = after = 0
        while page := await self._store.page(access.id, after, _PAGE):
            members += sum(_is_member(customer, audience) for customer in page)
            after = page[-1].key
        return members

    async def _check_size(self, access: AuthorizedContainer, audience: str, listed: int) -> None:
        """Raise `Conflict` if fewer than half as many are listed as there are members."""
        total, _, _ = await self._store.customer_count(access.id)
        if total <= 2 * listed:
            return
        members = await self.count_members(access, audience)
        if members > 2 * listed:
            customers = "customer" if listed == 1 else "customers"
            raise Conflict(
                f"the list has {listed:,} {customers} and the audience has {members:,} members: at least "
                f"{members - listed:,} would leave it; if the list is complete, repeat the request with `replace=all`, "
                "or the command with `--replace-all`",
                code="list-too-short",
            )

    async def _add_members(self, state: ContainerState, chunk: Sequence[MembershipChange]) -> None:
        await self._store.apply_changes(
            state.container.id,
            chunk,
            now_us=self._clock(),
            qualify=state.customer_schema.qualify(by_page=True),
            limits=self._limits,
        )

    async def _remove_unlisted(self, state: ContainerState, audience: str, started_us: int) -> int:
        """Remove members whose membership is older than the upload; return how many."""

        def exit_unlisted(customer: Customer, _: EventLoader, now_us: int) -> Memberships:
            if not _is_member(customer, audience) or customer.membership[audience].since_us >= started_us:
                return customer.membership
            return {
                **customer.membership,
                audience: AudienceMembership(MembershipStatus.EXITED, now_us),
            }

        return await self._requalify_all(state, exit_unlisted)


def _is_member(customer: Customer, audience: str) -> bool:
    membership = customer.membership.get(audience)
    return membership is not None and membership.status is not MembershipStatus.EXITED


def _uuid(requested_id: object) -> str:
    try:
        return str(uuid.UUID(str(requested_id)))
    except ValueError:
        raise Invalid.of(
            [
                Violation(
                    code="format",
                    message="the id of an audience must be a UUID",
                    path="$.id",
                    help="leave `id` out to have one generated",
                )
            ]
        ) from None
