"""stores-agree: all stores give equal answers to any sequence of calls, about libraries and about customers."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proffer.errors import ProfferError
from proffer.model.audience import next_membership
from proffer.model.customer import (
    Change,
    ChangeResult,
    Checkpoint,
    Customer,
    EncodedRecord,
    EventLimits,
    EventLoader,
    ExperienceEvent,
    Fragment,
    MembershipChange,
    MembershipEvaluator,
    Memberships,
    ProfileRecord,
)
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.token import StoredToken
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite.store import SqliteStore
from support.postgres import PooledStore

odds = st.integers(0, 9)
keys = st.sampled_from(["c0", "c1", "c2"])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
few = st.integers(0, 3)
moments = st.integers(0, 3) | st.integers(-(2**40), 2**52)
actors = st.builds(Actor, user=texts, client=texts)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=2,
)
containers = st.builds(
    Container,
    id=keys,
    organisation=st.sampled_from(["acme", "ACME"]),
    sandbox=few.map("s{}".format),
    name=texts,
    created_us=moments,
    created_by=actors,
)


def mostly_none(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return odds.flatmap(lambda number: values if number > 7 else st.none())


changes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "instance_id": few.map("i{}".format),
        "id": mostly_none(st.builds("{}:tag:{}".format, st.sampled_from(["xcore", "dps"]), few)),
        "kind": st.sampled_from(EntityKind),
        "etag": mostly_none(st.integers(1, 4)),
        "created_us": moments,
        "modified_us": moments,
        "created_by": actors,
        "modified_by": actors,
        "document": documents,
        "deleted": odds.map(lambda number: number > 7),
    }
)
tokens = st.builds(
    StoredToken,
    id=few.map("t{}".format),
    digest=few.map("d{}".format),
    organisation=texts,
    sandbox=texts,
    permissions=st.frozensets(texts, max_size=3),
    label=texts,
    created_us=moments,
    expires_us=st.none() | moments,
    revoked_us=st.none() | moments,
)


def comparable(answer: object) -> object:
    """An answer so that equal means the same: `==` alone takes 1 for 1.0 and any order of members."""
    if isinstance(answer, tuple | list):
        return [comparable(each) for each in answer]
    if isinstance(answer, Instance):
        return answer, msgspec.json.encode(answer.document)
    if isinstance(answer, ProfferError):
        return type(answer), answer.code, answer.detail, answer.extra
    return answer if isinstance(answer, str | int | None) else _plain(answer)


def _plain(answer: Any) -> object:
    return dict(answer) if hasattr(answer, "keys") else answer


async def opened(folder: Path) -> Sequence[Store]:
    """Every store there is, empty. The first one's answers are those expected of the others."""
    return (
        MemoryStore(),
        await SqliteStore.open(folder / "proffer.db", synchronous="OFF"),
        await PooledStore.create(connections=1),
    )


class Stores(RuleBasedStateMachine):
    """Stores that are asked the same, with one container to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._stores = self._runner.run(opened(Path(self._folder.name)))

    def teardown(self) -> None:
        for store in self._stores:
            self._runner.run(store.close())
        self._runner.close()
        self._folder.cleanup()

    def ask(self, question: Callable[[Store], Awaitable[object]]) -> None:
        """Ask all; whatever the answer, refusals included, it must be the same."""
        expected, *given = (comparable(self._runner.run(answered(question(store)))) for store in self._stores)
        assert all(one == expected for one in given), [expected, *given]

    @initialize()
    def begin_with_one_container(self) -> None:
        who = Actor(user="", client="")
        first = Container(id="c0", organisation="acme", sandbox="s0", name="", created_us=0, created_by=who)
        self.ask(lambda store: store.ensure_container(first))


class StoresAgree(Stores):
    """About libraries and tokens."""

    @rule(container=containers)
    def ensure_a_container(self, container: Container) -> None:
        self.ask(lambda store: store.ensure_container(container))

    @rule(
        container=st.just("c0") | keys,
        written=st.lists(changes, max_size=4),
        late=odds.map(lambda number: {8: 1, 9: -1}.get(number, 0)),
    )
    def commit(self, container: str, written: list[dict[str, Any]], late: int) -> None:
        based_on = self._revision(container) + late
        versions = [
            Instance(container=container, revision=place, **_likely(each, place))
            for place, each in enumerate(written, based_on + 1)
        ]
        self.ask(lambda store: store.commit(container, based_on, versions))

    def _revision(self, container: str) -> int:
        async def found() -> int:
            return (await self._stores[0].revisions()).get(container, 0)

        return self._runner.run(found())

    @rule(container=keys, instance=few.map("i{}".format), revision=few)
    def read(self, container: str, instance: str, revision: int) -> None:
        self.ask(lambda store: store.since(container, revision))
        self.ask(lambda store: store.history(container, instance))

    @rule(token=tokens)
    def add_a_token(self, token: StoredToken) -> None:
        self.ask(lambda store: store.add_token(token))

    @rule(token=few.map("t{}".format), digest=few.map("d{}".format), now=moments)
    def revoke_a_token(self, token: str, digest: str, now: int) -> None:
        self.ask(lambda store: store.revoke_token(token, now))
        self.ask(lambda store: store.token(digest))

    @invariant()
    def the_whole_is_the_same(self) -> None:
        self.ask(lambda store: store.containers())
        self.ask(lambda store: store.revisions())
        self.ask(lambda store: store.tokens())
        self.ask(lambda store: store.live("c0"))
        self.ask(lambda store: store.since("c0", 1))
        self.ask(lambda store: store.counts("c0"))


async def answered(question: Awaitable[object]) -> object:
    """The answer, or the refusal as an answer."""
    try:
        return await question
    except ProfferError as refusal:
        return refusal


def _likely(change: dict[str, Any], place: int) -> dict[str, Any]:
    """The change with what it leaves open filled in so that it is likely to be taken."""
    number = change["instance_id"][1:]
    return change | {
        "id": change["id"] or f"xcore:tag:{number}",
        "etag": change["etag"] or place,
    }


identities = st.lists(
    st.sampled_from([IdentityKey(code, key) for code in ("CRMID", "Email") for key in "12"]),
    min_size=1,
    max_size=2,
    unique=True,
).map(tuple)
attributes = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.integers(0, 2) | documents | st.dictionaries(st.sampled_from(["c", "d"]), few, max_size=2),
    max_size=2,
)
datasets = st.sampled_from(["crm", "web"])
records = st.builds(
    ProfileRecord,
    identities=identities,
    dataset=datasets,
    stamped_us=few,
    attributes=attributes | st.just({"a": None}),
    digest=mostly_none(few.map(lambda number: bytes([number]) * 16)),
)
events = st.builds(
    ExperienceEvent,
    identities=identities,
    id=few.map("e{}".format),
    stamped_us=few,
    document=documents,
)
lines = st.builds(
    MembershipChange,
    identities=identities,
    audience=st.just("listed"),
    columns=st.dictionaries(st.just("tier"), texts, max_size=1),
    stamped_us=few,
)
no_nulls = attributes.filter(lambda value: b"null" not in msgspec.json.encode(value))
encoded: st.SearchStrategy[EncodedRecord] = st.tuples(identities, datasets, few, no_nulls.map(msgspec.json.encode))


def evaluated(customer: Customer, happened: EventLoader, now_us: int) -> Memberships:
    """One audience of those with an `a`, one of those who did something; lists stay as they are."""
    membership = dict(customer.membership)
    for audience, holds in (("a", "a" in customer.attributes), ("did", len(happened()) > 0)):
        standing = next_membership(membership.get(audience), holds, now_us)
        if standing is not None:
            membership[audience] = standing
    return membership


class Keys(dict[tuple[str, int], int]):
    """Keys are a store's own. What all have in common is the order in which their customers are first met."""

    def place(self, container: str, key: int) -> int:
        return self.setdefault((container, key), len(self))


def told(keys: Keys, container: str, answer: object) -> object:
    """An answer about customers, with the place of each instead of its key."""
    if isinstance(answer, Customer):
        known = [(audience, one) for audience, one in sorted(answer.membership.items())]
        document = msgspec.json.encode(dict(answer.attributes))
        rest = (answer.identities, answer.sources, answer.modified_us)
        return [keys.place(container, answer.key), document, repr(known), repr(rest)]
    if isinstance(answer, ChangeResult):
        key = None if answer.key is None else keys.place(container, answer.key)
        return [key, answer.is_duplicate, answer.refusal]
    if isinstance(answer, Fragment):
        return [repr(answer.source), msgspec.json.encode(dict(answer.attributes))]
    if isinstance(answer, dict):
        return msgspec.json.encode(answer)
    if isinstance(answer, tuple | list):
        return [told(keys, container, one) for one in answer]
    return repr(answer) if answer is not None else None


class StoresAgreeOnCustomers(Stores):
    """About customers: what each change becomes, and everybody there is."""

    def __init__(self) -> None:
        super().__init__()
        self._keys = {store: Keys() for store in self._stores}

    def ask_about(self, container: str, question: Callable[[Store], Awaitable[object]]) -> None:
        async def asked(store: Store) -> object:
            return told(self._keys[store], container, await question(store))

        self.ask(asked)

    @rule(
        container=st.just("c0") | keys,
        changes=st.lists(records | events | lines, min_size=1, max_size=6),
        now=st.integers(0, 9),
        qualify=st.sampled_from([None, evaluated]),
        most=st.integers(1, 3),
        age=st.sampled_from([9, 9, 1]),
        mark=mostly_none(st.builds(Checkpoint, name=st.just("f"), note=st.binary(max_size=2))),
    )
    def take_in(
        self,
        container: str,
        changes: list[Change],
        now: int,
        qualify: MembershipEvaluator | None,
        most: int,
        age: int,
        mark: Checkpoint | None,
    ) -> None:
        limits = EventLimits(max_events=most, max_age_us=age)
        self.ask_about(
            container,
            lambda store: store.apply_changes(
                container, changes, now_us=now, qualify=qualify, limits=limits, checkpoint=mark
            ),
        )

    @rule(
        written=st.lists(encoded, min_size=1, max_size=6),
        now=st.integers(0, 9),
        qualify=st.sampled_from([None, None, evaluated]),
    )
    def bring_in(self, written: list[EncodedRecord], now: int, qualify: MembershipEvaluator | None) -> None:
        mark = Checkpoint(name="f", note=bytes([now]))
        self.ask_about(
            "c0",
            lambda store: store.bulk_apply("c0", written, now_us=now, qualify=qualify, checkpoint=mark),
        )

    @rule(now=st.integers(0, 9), limit=st.integers(1, 4))
    def requalify(self, now: int, limit: int) -> None:
        async def through(store: Store) -> list[int]:
            after: int | None = 0
            counted = []
            while after is not None:
                after, changed = await store.requalify("c0", after, limit, now_us=now, qualify=evaluated)
                counted.append(changed)
            return counted

        self.ask_about("c0", through)

    @rule(identity=identities.map(lambda several: several[0]))
    def erase(self, identity: IdentityKey) -> None:
        self.ask_about("c0", lambda store: store.erase("c0", identity))

    @rule(before=st.integers(0, 9))
    def forget(self, before: int) -> None:
        self.ask_about("c0", lambda store: store.purge_digests(before))
        self.ask_about("c0", lambda store: store.delete_checkpoint("c0", "f"))

    @rule(asked=identities, since=few)
    def look_up(self, asked: tuple[IdentityKey, ...], since: int) -> None:
        async def happened(store: Store) -> object:
            found = await store.customers("c0", asked)
            return await store.events("c0", [one.key for one in found], since)

        self.ask_about("c0", lambda store: store.customers("c0", asked))
        self.ask_about("c0", happened)

    @invariant()
    def everybody_is_the_same(self) -> None:
        async def everything(store: Store) -> object:
            count, low, high = await store.customer_count("c0")
            people = await store.page("c0", 0, 100)
            assert all(low <= one.key <= high for one in people)
            sample = await store.customers_by_key("c0", [one.key for one in people[::2]] + [high + 1])
            said = [await store.fragments("c0", one) for one in people]
            return [count, people, sample, said, await store.checkpoint("c0", "f")]

        self.ask_about("c0", everything)


ENOUGH = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = ENOUGH
TestStoresAgreeOnCustomers = StoresAgreeOnCustomers.TestCase
TestStoresAgreeOnCustomers.settings = settings(ENOUGH, max_examples=60)
