"""Audiences: definitions, batch evaluation, size estimates, and uploaded lists."""

import asyncio
import math
import random
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proffer.errors import Finding, Invalid, NotFound
from proffer.model.customer import (
    EVENT_LIMITS,
    Customer,
    Enlisting,
    EventLimits,
    Events,
    Membership,
    Standing,
    Status,
)
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.model.parse import expression_of
from proffer.pql import Rejected, compile_rule, place_of
from proffer.service.library.customer_rules import Asking
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService, Precondition
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore

IS_AUDIENCE = Precondition(kind=EntityKind.AUDIENCE)
EXACT_BELOW = 1_000_000
"""Below this number of customers an estimate evaluates all of them."""
_SAMPLED = 100_000
_PAGE = 500
_Z_95 = 1.96

Document = Mapping[str, Any]
Told = Callable[[int], None]
"""Called with the number of customers evaluated since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Result of a batch: customers evaluated or listed, and how many memberships changed or ended."""

    customers: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated number of customers a rule matches. `error`: standard error of `size`; 0 if exact."""

    size: int
    total: int
    asked: int
    matched: int
    error: float

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

    async def create(self, access: AuthorizedContainer, document: Document) -> Instance:
        """Create an audience. Its `id`, if given, must be a UUID and is kept."""
        _check_rule(document)
        wanted = document.get("id")
        return await self._catalog.create(
            access,
            EntityKind.AUDIENCE,
            {name: value for name, value in document.items() if name != "id"},
            instance_id=_uuid(wanted) if wanted is not None else None,
        )

    async def revise(
        self, access: AuthorizedContainer, audience: str, changes: Document
    ) -> Instance:
        """Update members of a definition; null or missing ones stay unchanged."""

        def revision(before: Instance) -> Document:
            document = {**before.document}
            document |= {name: value for name, value in changes.items() if value is not None}
            document.pop("id", None)
            _check_rule(document)
            return document

        return await self._catalog.revise(access, audience, revision, IS_AUDIENCE)

    async def delete(self, access: AuthorizedContainer, audience: str) -> Instance:
        return await self._catalog.delete(access, audience, IS_AUDIENCE)

    def get(self, access: AuthorizedContainer, audience: str) -> Instance:
        return self._catalog.get(access, audience, IS_AUDIENCE)

    def every(self, access: AuthorizedContainer) -> list[Instance]:
        """Return all audiences of a container, newest first."""
        kept = self._catalog.of_kind(access, EntityKind.AUDIENCE)
        return sorted(kept, key=lambda one: (one.created_us, one.revision), reverse=True)

    async def evaluate(self, access: AuthorizedContainer, told: Told | None = None) -> Evaluated:
        """Evaluate every audience for every customer, page by page, alongside concurrent writes."""
        state = access.state
        qualify = state.customers.qualify(batch=True)
        total, _, _ = await self._store.customer_count(state.container.id)
        if qualify is None:
            return Evaluated(customers=total, changed=0)
        changed, after = 0, 0
        while True:
            last, more = await self._store.requalify(
                state.container.id,
                after,
                _PAGE,
                now_us=self._clock(),
                qualify=qualify,
                limits=self._limits,
            )
            if last is None:
                break
            changed, after = changed + more, last
            if told is not None:
                told(_PAGE)
        return Evaluated(customers=total, changed=changed)

    async def estimate(self, access: AuthorizedContainer, condition: str | Document) -> Estimate:
        """Estimate how many customers match a rule: exact below a million, else from a sample.

        Raises `Invalid` for an invalid rule.
        """
        state = access.state
        compiled = compile_rule(condition, name="estimate")
        if isinstance(compiled, Rejected):
            raise Invalid.of(_findings(compiled, "$.predicateExpression"))
        asking = Asking(state.customers, compiled)
        total, low, high = await self._store.customer_count(state.container.id)
        if total < EXACT_BELOW:
            asked, matched = await self._ask_all(state, asking)
            return Estimate(size=matched, total=total, asked=asked, matched=matched, error=0.0)
        asked, matched = await self._ask_some(state, asking, low, high)
        share = matched / asked if asked else 0.0
        error = total * math.sqrt(share * (1 - share) / asked) if asked else float(total)
        return Estimate(
            size=round(share * total), total=total, asked=asked, matched=matched, error=error
        )

    async def _ask_all(self, state: ContainerState, asking: Asking) -> tuple[int, int]:
        asked = matched = after = 0
        while page := await self._store.page(state.container.id, after, _PAGE):
            matched += await self._matching(state, asking, page)
            asked, after = asked + len(page), page[-1].key
        return asked, matched

    async def _ask_some(
        self, state: ContainerState, asking: Asking, low: int, high: int
    ) -> tuple[int, int]:
        draw = random.Random(high)  # noqa: S311 - a sample; seeded, so repeatable until customers are added
        asked = matched = 0
        for _ in range(0, _SAMPLED, _PAGE):
            keys = [draw.randint(low, high) for _ in range(_PAGE)]
            page = await self._store.sample(state.container.id, keys)
            matched += await self._matching(state, asking, page)
            asked += len(page)
        return asked, matched

    async def _matching(
        self, state: ContainerState, asking: Asking, page: Sequence[Customer]
    ) -> int:
        now_us = self._clock()
        if asking.needs_events:
            since_us = now_us - self._limits.age_us
            matched = 0
            for customer in page:
                events = await self._store.events(state.container.id, [customer.key], since_us)
                matched += asking.holds(customer, events, now_us)
            return matched
        return await asyncio.to_thread(
            lambda: sum(asking.holds(customer, (), now_us) for customer in page)
        )

    async def upload(
        self,
        access: AuthorizedContainer,
        audience: str,
        lines: Iterable[tuple[IdentityKey, Document]],
    ) -> Evaluated:
        """Replace the members of a list audience by these identities with their columns.

        Unknown identities become customers without attributes. Raises `NotFound` unless the audience
        is a list.
        """
        state = access.state
        bound = state.customers.audiences.get(audience)
        if bound is None or bound.definition.condition is not None:
            raise NotFound(f"there is no list audience `{audience}`", code="audience-not-found")
        begun_us = self._clock()
        listed = 0
        chunk: list[Enlisting] = []
        for key, columns in lines:
            chunk.append(
                Enlisting(
                    identities=(key,), audience=audience, columns=columns, stamped_us=begun_us
                )
            )
            listed += 1
            if len(chunk) == _PAGE:
                await self._enlist(state, chunk)
                chunk = []
        if chunk:
            await self._enlist(state, chunk)
        left = await self._dismiss(state, audience, begun_us)
        return Evaluated(customers=listed, changed=left)

    async def _enlist(self, state: ContainerState, chunk: Sequence[Enlisting]) -> None:
        await self._store.take_in(
            state.container.id,
            chunk,
            now_us=self._clock(),
            qualify=state.customers.qualify(many=True),
            limits=self._limits,
        )

    async def _dismiss(self, state: ContainerState, audience: str, begun_us: int) -> int:
        """Remove members whose membership is older than the upload; return how many."""

        def without(customer: Customer, _: Events, now_us: int) -> Membership:
            standing = customer.membership.get(audience)
            if (
                standing is None
                or standing.status is Status.EXITED
                or standing.since_us >= begun_us
            ):
                return customer.membership
            return {**customer.membership, audience: Standing(Status.EXITED, now_us)}

        left, after = 0, 0
        while True:
            last, changed = await self._store.requalify(
                state.container.id, after, _PAGE, now_us=self._clock(), qualify=without
            )
            if last is None:
                return left
            left, after = left + changed, last


def _check_rule(document: Document) -> None:
    """Raise `Invalid` with every error in the audience's rule."""
    expression = document.get("expression")
    if not isinstance(expression, Mapping) or expression.get("type") == "LIST":
        return
    value = expression.get("value")
    if not isinstance(value, str | Mapping):
        return  # reported by the validation of the document
    compiled = compile_rule(expression_of(expression), name=str(document.get("name", "audience")))
    if isinstance(compiled, Rejected):
        raise Invalid.of(_findings(compiled, "$.expression.value"))


def _findings(rejected: Rejected, path: str) -> list[Finding]:
    found = []
    for one in (each for each in rejected.diagnostics if each.is_error):
        place = place_of(one, rejected.text)
        found.append(
            Finding(
                code=one.code,
                message=one.message,
                path=path,
                help=one.help,
                line=place.line if place else None,
                column=place.column if place else None,
            )
        )
    return found


def _uuid(wanted: object) -> str:
    try:
        return str(uuid.UUID(str(wanted)))
    except ValueError:
        raise Invalid.of(
            [
                Finding(
                    code="format",
                    message="the id of an audience is a UUID",
                    path="$.id",
                    help="leave `id` out, and one is made",
                )
            ]
        ) from None
