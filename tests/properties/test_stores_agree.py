"""stores-agree: memory and SQLite give equal answers to any sequence of calls."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proffer.errors import ProfferError
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.token import StoredToken
from proffer.store.memory import MemoryStore
from proffer.store.ports import Store
from proffer.store.sqlite import SqliteStore

odds = st.integers(0, 9)
keys = st.sampled_from(["c0", "c1", "c2"])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
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


class StoresAgree(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._memory: Store = MemoryStore()
        self._sqlite: Store = self._runner.run(
            SqliteStore.open(Path(self._folder.name) / "proffer.db", synchronous="OFF")
        )

    def teardown(self) -> None:
        self._runner.run(self._sqlite.close())
        self._runner.close()
        self._folder.cleanup()

    def ask(self, question: Callable[[Store], Awaitable[object]]) -> None:
        """Ask both; whatever the answer, refusals included, it must be the same."""
        expected, given = (
            comparable(self._runner.run(answered(question(store))))
            for store in (self._memory, self._sqlite)
        )
        assert expected == given

    @initialize()
    def begin_with_one_container(self) -> None:
        who = Actor(user="", client="")
        first = Container(
            id="c0", organisation="acme", sandbox="s0", name="", created_us=0, created_by=who
        )
        self.ask(lambda store: store.ensure_container(first))

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
            return (await self._memory.revisions()).get(container, 0)

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


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
