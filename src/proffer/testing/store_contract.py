"""Contract tests of `store/ports.py`. Subclass `StoreContract` and define how the store is opened.

    class TestMyStore(StoreContract):
        async def open(self, tmp_path):
            return await MyStore.open(tmp_path / "my.db")

Each test opens a store of its own and closes it. For readable failures, have pytest rewrite the
asserts: `pytest.register_assert_rewrite("proffer.testing.store_contract")` in a `conftest.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from proffer.errors import Conflict, NotFound
from proffer.model.audience import AudienceEvaluation
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container, Instance
from proffer.model.lease import Lease
from proffer.model.token import StoredToken
from proffer.store.errors import StaleRevision
from proffer.store.ports import Store

ALICE = Actor(user="alice@AdobeID", client="acme-console")
BOB = Actor(user="bob@AdobeID", client="acme-sync")
NOON = 1_767_268_800_000_000
SECOND = 1_000_000

HARD_JSON = {
    "xdm:name": 'Zoë\u2028 \u0000 "quoted" \\ 🎁 e\u0301',
    "_zulu first": 1,
    "alpha second": {"z": [], "a": {}},
    "numbers": [0, -0.0, 1.0, 1, 0.1, 1e22, 5e-324, 2**63 - 1, -(2**63), 2**64 - 1],
    "others": [True, False, None, "", "null"],
    "": "a nameless member",
}
"""A document that careless serialisation would change."""


def a_container(key: str = "c1", *, sandbox: str = "prod", created_us: int = NOON) -> Container:
    return Container(
        id=key,
        organisation="acme",
        sandbox=sandbox,
        name=f"library of {sandbox}",
        created_us=created_us,
        created_by=ALICE,
    )


def a_version(
    revision: int,
    name: str = "one",
    *,
    etag: int = 1,
    container: str = "c1",
    kind: EntityKind = EntityKind.OFFER,
    **changes: Any,
) -> Instance:
    """Return a version of the object `name`; its ids are derived from name and kind."""
    entity_id = f"xcore:{kind}:{name.encode().hex()[:16]}"
    version = Instance(
        container=container,
        instance_id=f"instance of {name}",
        kind=kind,
        id=entity_id,
        etag=etag,
        revision=revision,
        created_us=NOON,
        modified_us=NOON + etag * SECOND,
        created_by=ALICE,
        modified_by=BOB if etag > 1 else ALICE,
        document={"@id": entity_id, "xdm:name": name, "etag was": etag},
    )
    return replace(version, **changes)


def a_token(key: str = "t1", **changes: Any) -> StoredToken:
    token = StoredToken(
        id=key,
        digest=key.encode().hex().ljust(64, "0"),
        organisation="acme",
        sandbox="prod",
        permissions=frozenset({"library.read", "decisions.make"}),
        label=f"the key called {key}",
        created_us=NOON,
    )
    return replace(token, **changes)


def with_encoded_documents(versions: Sequence[Instance]) -> list[tuple[Instance, bytes]]:
    """Pair versions with encoded documents: `==` alone ignores 1 versus 1.0 and member order."""
    return [(each, msgspec.json.encode(each.document)) for each in versions]


TestBody: TypeAlias = Callable[[Any, Any], Awaitable[None]]


def store_test(body: TestBody) -> Callable[[Any, Path], None]:
    """Wrap an async body into a test with an open store."""

    def test(self: "Contract", tmp_path: Path) -> None:
        async def run() -> None:
            store = await self.open(tmp_path)
            try:
                await body(self, store)
            finally:
                await store.close()

        asyncio.run(run())

    test.__name__, test.__qualname__, test.__doc__ = (
        body.__name__,
        body.__qualname__,
        body.__doc__,
    )
    return test


class Contract:
    async def open(self, tmp_path: Path) -> Store:
        """Open an empty store with its files in `tmp_path`."""
        raise NotImplementedError


class CatalogStoreContract(Contract):
    """Contract of `CatalogStore`."""

    @store_test
    async def test_a_new_store_is_empty(self, store: Store) -> None:
        """A new store has no containers."""
        assert (list(await store.containers()), dict(await store.revisions())) == ([], {})

    @store_test
    async def test_containers_come_oldest_first(self, store: Store) -> None:
        """Order is by creation time, then id, not by write order."""
        late = a_container("c1", sandbox="late", created_us=NOON + 1)
        twins = [a_container(key, sandbox=key) for key in ("c3", "c2")]
        for container in (late, *twins):
            await store.ensure_container(container)

        assert [each.id for each in await store.containers()] == ["c2", "c3", "c1"]

    @store_test
    async def test_a_container_comes_back_whole(self, store: Store) -> None:
        """All fields are stored; the revision is the current one."""
        created = await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1), a_version(2, etag=2)])

        assert a_container() == created
        assert [replace(a_container(), revision=2)] == list(await store.containers())

    @store_test
    async def test_an_existing_container_is_returned_as_it_is(self, store: Store) -> None:
        """Other fields of the argument are ignored; the current revision is returned."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])
        again = replace(a_container("other", created_us=5), name="new name", created_by=BOB)

        assert replace(a_container(), revision=1) == await store.ensure_container(again)
        assert dict(await store.revisions()) == {"c1": 1}

    @store_test
    async def test_two_callers_at_once_get_one_container(self, store: Store) -> None:
        """Twenty concurrent callers for one sandbox get the same container."""
        containers = [a_container(f"c{number}") for number in range(20)]
        results = await asyncio.gather(*map(store.ensure_container, containers))

        assert list(await store.containers()) * 20 == results

    @store_test
    async def test_a_container_id_is_not_shared(self, store: Store) -> None:
        """A new container cannot take the id of another sandbox's container."""
        await store.ensure_container(a_container())

        with pytest.raises(Conflict, match="c1"):
            await store.ensure_container(a_container("c1", sandbox="stage"))
        assert [a_container()] == list(await store.containers())

    @store_test
    async def test_an_unknown_container_is_empty(self, store: Store) -> None:
        """It reads as revision 0 without objects and refuses writes."""
        assert _revision_and_versions(await store.live("c9")) == (0, [])
        assert [*await store.since("c9", 0), *await store.history("c9", "instance of one")] == []
        assert dict(await store.counts("c9")) == {}
        with pytest.raises(NotFound, match="c9"):
            await store.commit("c9", 0, [a_version(1, container="c9")])

    @store_test
    async def test_documents_come_back_exactly(self, store: Store) -> None:
        """Numbers, text, and the order of members are those that were written."""
        await store.ensure_container(a_container())
        written = [a_version(1, document=HARD_JSON), a_version(2, "deep", document=_deep(50))]
        await store.commit("c1", 0, written)

        assert with_encoded_documents(written) == with_encoded_documents((await store.live("c1"))[1])
        assert with_encoded_documents(written) == with_encoded_documents(await store.since("c1", 0))
        assert with_encoded_documents(written[:1]) == with_encoded_documents(
            await store.history("c1", "instance of one")
        )

    @store_test
    async def test_a_document_is_kept_apart_from_the_callers(self, store: Store) -> None:
        """Changing a document after writing it does not change the stored one."""
        await store.ensure_container(a_container())
        document: dict[str, Any] = {"xdm:name": "one", "tags": ["a"]}
        await store.commit("c1", 0, [a_version(1, document=document)])
        document["tags"].append("b")

        ((_, [stored]),) = [_revision_and_versions(await store.live("c1"))]
        assert stored.document == {"xdm:name": "one", "tags": ["a"]}

    @store_test
    async def test_live_shows_the_newest_versions_in_order_of_revision(self, store: Store) -> None:
        """An object written again moves to the end; a deleted one is gone."""
        await store.ensure_container(a_container())
        names = ("one", "two", "three")
        await store.commit("c1", 0, [a_version(i, name) for i, name in enumerate(names, 1)])
        again, deleted = a_version(4, "one", etag=2), a_version(5, "two", etag=2, deleted=True)
        await store.commit("c1", 3, [again, deleted])

        assert (5, [a_version(3, "three"), again]) == _revision_and_versions(await store.live("c1"))

    @store_test
    async def test_live_is_one_picture_of_one_moment(self, store: Store) -> None:
        """During concurrent writes, each result holds the writes up to its revision."""
        await store.ensure_container(a_container())
        writing = asyncio.create_task(_write_one_by_one(store, 40))
        while not writing.done():
            revision, alive = await store.live("c1")
            assert list(range(1, revision + 1)) == [each.revision for each in alive]
            await asyncio.sleep(0)
        await writing

        assert (await store.live("c1"))[0] == 40

    @store_test
    async def test_since_gives_what_came_after_deletions_included(self, store: Store) -> None:
        """Every version above the revision, in order, including superseded ones."""
        await store.ensure_container(a_container())
        written = [a_version(1), a_version(2, etag=2), a_version(3, "two")]
        written.append(a_version(4, etag=3, deleted=True))
        await store.commit("c1", 0, written)

        for revision in range(5):
            assert written[revision:] == list(await store.since("c1", revision))

    @store_test
    async def test_the_library_of_any_revision_can_be_read(self, store: Store) -> None:
        """The newest version of each object then, without deleted ones; nothing for a revision there never was."""
        await store.ensure_container(a_container())
        one, two, other = a_version(1), a_version(2, etag=2), a_version(3, "two")
        gone, last = a_version(4, etag=3, deleted=True), a_version(5, "two", etag=2)
        await store.commit("c1", 0, [one, two, other, gone, last])

        expected = [None, [one], [two], [two, other], [other], [last], None]
        for revision, live in enumerate(expected):
            found = await store.live_at("c1", revision)
            assert (None if found is None else list(found)) == live
        changed = [await store.live_at("c1", revision, changed_since=revision) for revision in range(1, 6)]
        assert [list(found or ()) for found in changed] == [[one], [two], [two, other], [other], [last]]
        assert await store.live_at("c9", 1) is None

    @store_test
    async def test_the_version_of_an_object_at_any_revision_can_be_read(self, store: Store) -> None:
        """Also of an object that was deleted."""
        await store.ensure_container(a_container())
        one, changed, gone = a_version(1), a_version(3, etag=2), a_version(4, etag=3, deleted=True)
        await store.commit("c1", 0, [one, a_version(2, "two"), changed, gone])

        found = [await store.version_at("c1", revision, one.key) for revision in range(6)]
        assert found == [None, one, one, changed, gone, gone]
        assert await store.version_at("c1", 5, "unknown") is None
        assert await store.version_at("c9", 5, one.key) is None

    @store_test
    async def test_history_has_every_version_a_deletion_last(self, store: Store) -> None:
        """Oldest first, whoever wrote it, with nothing of other objects; none for an unknown one."""
        await store.ensure_container(a_container())
        ours = [a_version(1), a_version(3, etag=2), a_version(4, etag=3, deleted=True)]
        await store.commit("c1", 0, [ours[0], a_version(2, "two"), *ours[1:]])

        assert ours == list(await store.history("c1", "instance of one"))
        assert list(await store.history("c1", "instance of nothing")) == []

    @store_test
    async def test_a_commit_on_an_old_revision_is_refused(self, store: Store) -> None:
        """A write on an older or later revision is refused whole."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])

        for based_on in (0, 2):
            with pytest.raises(StaleRevision, match="revision 1"):
                await store.commit("c1", based_on, [a_version(based_on + 1, "two")])
        assert (1, [a_version(1)]) == _revision_and_versions(await store.live("c1"))

    @store_test
    async def test_of_many_writers_on_one_revision_one_wins(self, store: Store) -> None:
        """Of fifty writes based on one revision, exactly one succeeds."""
        await store.ensure_container(a_container())
        attempts = [store.commit("c1", 0, [a_version(1, f"n{i}")]) for i in range(50)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        winner = results.index(None)

        assert sum(isinstance(each, StaleRevision) for each in results) == 49
        assert (1, [a_version(1, f"n{winner}")]) == _revision_and_versions(await store.live("c1"))

    @store_test
    async def test_fifty_tasks_that_retry_all_get_through(self, store: Store) -> None:
        """Concurrent writers lose nothing and use no revision twice."""
        await store.ensure_container(a_container())
        await asyncio.gather(*(_commit_with_retry(store, f"n{number}") for number in range(50)))
        revision, alive = await store.live("c1")

        assert list(range(1, 51)) == [each.revision for each in alive]
        assert (revision, len({each.id for each in alive})) == (50, 50)

    @store_test
    async def test_containers_do_not_touch_each_other(self, store: Store) -> None:
        """The same ids and revisions may occur in two containers."""
        await store.ensure_container(a_container("c1"))
        await store.ensure_container(a_container("c2", sandbox="stage"))
        await store.commit("c1", 0, [a_version(1), a_version(2, etag=2)])
        await store.commit("c2", 0, [a_version(1, container="c2")])

        assert dict(await store.revisions()) == {"c1": 2, "c2": 1}
        assert (1, [a_version(1, container="c2")]) == _revision_and_versions(await store.live("c2"))

    @store_test
    async def test_a_refused_commit_writes_nothing(self, store: Store) -> None:
        """All or nothing: the good versions before a bad one are not written either."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])
        bad = a_version(3, "thief", id=a_version(1).id)

        with pytest.raises(Conflict):
            await store.commit("c1", 1, [a_version(2, "two"), bad])
        assert (1, [a_version(1)]) == _revision_and_versions(await store.live("c1"))
        assert list(await store.history("c1", "instance of two")) == []
        await store.commit("c1", 1, [a_version(2, "two")])

    @store_test
    async def test_an_unstorable_document_is_refused_whole(self, store: Store) -> None:
        """A document that is not JSON raises and writes nothing; later writes succeed."""
        await store.ensure_container(a_container())
        bad = a_version(2, "two", document={"xdm:name": object()})

        with pytest.raises(TypeError):
            await store.commit("c1", 0, [a_version(1), bad])
        await store.commit("c1", 0, [a_version(1)])
        assert (1, [a_version(1)]) == _revision_and_versions(await store.live("c1"))

    @store_test
    async def test_versions_must_say_their_place(self, store: Store) -> None:
        """A version with another revision or container raises ValueError."""
        await store.ensure_container(a_container())
        wrong = [a_version(2)], [a_version(1, container="c2")], [a_version(1), a_version(1, "two")]

        for versions in wrong:
            with pytest.raises(ValueError, match="but it is written to"):
                await store.commit("c1", 0, versions)
        assert _revision_and_versions(await store.live("c1")) == (0, [])

    @store_test
    async def test_an_empty_commit_only_checks_the_revision(self, store: Store) -> None:
        """It changes nothing, but is refused if the revision has changed."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [])

        with pytest.raises(StaleRevision):
            await store.commit("c1", 1, [])
        assert dict(await store.revisions()) == {"c1": 0}

    @store_test
    async def test_an_id_is_never_used_again(self, store: Store) -> None:
        """Another object cannot use it in either spelling, even after deletion."""
        await store.ensure_container(a_container())
        used_id = a_version(1).id
        await store.commit("c1", 0, [a_version(1)])
        for thief in (used_id, used_id.replace("xcore:", "dps:")):
            with pytest.raises(Conflict, match="instance of one"):
                await store.commit("c1", 1, [a_version(2, "thief", id=thief)])
        await store.commit("c1", 1, [a_version(2, etag=2, deleted=True)])

        with pytest.raises(Conflict, match="instance of one"):
            await store.commit("c1", 2, [a_version(3, "thief", id=used_id)])

    @store_test
    async def test_an_id_is_taken_within_one_commit_too(self, store: Store) -> None:
        """Two new objects of one commit cannot have the same id."""
        await store.ensure_container(a_container())

        with pytest.raises(Conflict):
            await store.commit("c1", 0, [a_version(1), a_version(2, "two", id=a_version(1).id)])
        assert dict(await store.revisions()) == {"c1": 0}

    @store_test
    async def test_an_object_keeps_its_id(self, store: Store) -> None:
        """The id of an object cannot change, except between the two spellings."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1)])
        with pytest.raises(Conflict, match="cannot become"):
            await store.commit("c1", 1, [a_version(2, etag=2, id=a_version(1, "two").id)])
        respelled = a_version(2, etag=2, id=a_version(1).id.replace("xcore:", "dps:"))
        await store.commit("c1", 1, [respelled])

        assert (2, [respelled]) == _revision_and_versions(await store.live("c1"))

    @store_test
    async def test_what_is_deleted_stays_deleted(self, store: Store) -> None:
        """No version follows a deletion."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1), a_version(2, etag=2, deleted=True)])

        with pytest.raises(Conflict, match="deleted"):
            await store.commit("c1", 2, [a_version(3, etag=3)])

    @store_test
    async def test_etags_rise(self, store: Store) -> None:
        """A version with an etag used before is refused."""
        await store.ensure_container(a_container())
        await store.commit("c1", 0, [a_version(1), a_version(2, etag=2)])

        for etag in (1, 2):
            with pytest.raises(Conflict, match="etag 2"):
                await store.commit("c1", 2, [a_version(3, etag=etag)])

    @store_test
    async def test_counts_are_of_live_objects_by_kind(self, store: Store) -> None:
        """Superseded versions, deleted objects and empty kinds are not counted."""
        await store.ensure_container(a_container())
        tag, rule = (
            a_version(4, "tag", kind=EntityKind.TAG),
            a_version(5, "rule", kind=EntityKind.RULE),
        )
        offers = [a_version(1, "one"), a_version(2, "two"), a_version(3, "two", etag=2)]
        await store.commit("c1", 0, [*offers, tag, rule])
        await store.commit("c1", 5, [replace(rule, revision=6, etag=2, deleted=True)])

        assert dict(await store.counts("c1")) == {EntityKind.OFFER: 2, EntityKind.TAG: 1}

    @store_test
    async def test_a_large_commit_is_written_whole(self, store: Store) -> None:
        """A library of two thousand objects loads in one commit."""
        await store.ensure_container(a_container())
        written = [a_version(number, f"n{number}") for number in range(1, 2001)]
        await store.commit("c1", 0, written)

        assert (2000, written) == _revision_and_versions(await store.live("c1"))


class TokenStoreContract(Contract):
    """Contract of `TokenStore`."""

    @store_test
    async def test_a_token_is_found_by_its_digest(self, store: Store) -> None:
        """All fields are returned; an unknown digest finds nothing."""
        plain = a_token("t1", permissions=frozenset())
        expired = a_token("t2", expires_us=NOON - 1, label="Zoë's 🔑")
        for token in (plain, expired):
            await store.add_token(token)

        assert [plain, expired] == [await store.token(each.digest) for each in (plain, expired)]
        assert await store.token("0" * 64) is None

    @store_test
    async def test_tokens_come_oldest_first(self, store: Store) -> None:
        """Order is by creation time, then id."""
        late = a_token("t1", created_us=NOON + 1)
        for token in (late, a_token("t3"), a_token("t2")):
            await store.add_token(token)

        assert [a_token("t2"), a_token("t3"), late] == list(await store.tokens())

    @store_test
    async def test_token_ids_and_digests_are_unique(self, store: Store) -> None:
        """A second token with either is refused; the first is unchanged."""
        await store.add_token(a_token())

        for twin in (a_token("t1", digest="f" * 64), a_token("t2", digest=a_token().digest)):
            with pytest.raises(Conflict):
                await store.add_token(twin)
        assert [a_token()] == list(await store.tokens())

    @store_test
    async def test_a_revoked_token_is_still_found_and_says_when(self, store: Store) -> None:
        """The first revocation is the one that counts; a second changes nothing."""
        await store.add_token(a_token())
        results = [await store.revoke_token("t1", NOON + later) for later in (1, 2)]

        assert results == [True, False]
        assert a_token(revoked_us=NOON + 1) == await store.token(a_token().digest)

    @store_test
    async def test_revoking_an_expired_token_ends_nothing(self, store: Store) -> None:
        """It is marked, but the result is False; a token is valid before its expiry time."""
        await store.add_token(a_token("t1", expires_us=NOON))
        await store.add_token(a_token("t2", expires_us=NOON + 1))

        assert [await store.revoke_token(key, NOON) for key in ("t1", "t2")] == [False, True]
        assert [each.revoked_us for each in await store.tokens()] == [NOON, NOON]

    @store_test
    async def test_an_unknown_token_cannot_be_revoked(self, store: Store) -> None:
        """The result is False."""
        assert not await store.revoke_token("t9", NOON)

    @store_test
    async def test_of_many_revocations_at_once_one_counts(self, store: Store) -> None:
        """Of twenty concurrent revocations of a token, one returns True."""
        await store.add_token(a_token())
        results = await asyncio.gather(*(store.revoke_token("t1", NOON) for _ in range(20)))

        assert sum(results) == 1


class LeaseStoreContract(Contract):
    """Contract of `LeaseStore`."""

    @store_test
    async def test_a_lease_is_changed_only_by_who_knows_its_version(self, store: Store) -> None:
        """Each change increases the version; an outdated one writes nothing."""
        free = await store.lease("task")
        assert free == Lease(name="task")
        taken = await store.put_lease(replace(free, owner="a", until_us=NOON))
        assert taken == Lease(name="task", owner="a", until_us=NOON, version=1)
        assert await store.put_lease(replace(free, owner="b", until_us=NOON)) is None
        assert await store.lease("task") == taken
        assert await store.put_lease(replace(taken, owner="b")) == replace(taken, owner="b", version=2)
        assert await store.put_lease(replace(taken, owner="a")) is None
        assert await store.lease("other") == Lease(name="other")

    @store_test
    async def test_of_many_that_take_a_lease_at_once_one_gets_it(self, store: Store) -> None:
        for version in range(3):
            current = await store.lease("task")
            assert current.version == version
            results = await asyncio.gather(
                *(store.put_lease(replace(current, owner=str(number))) for number in range(10))
            )
            assert len([lease for lease in results if lease is not None]) == 1

    @store_test
    async def test_the_last_evaluation_of_each_container_is_kept(self, store: Store) -> None:
        for container in (a_container("c1", sandbox="one"), a_container("c2", sandbox="two")):
            await store.ensure_container(container)
        first = AudienceEvaluation(
            container="c1", revision=3, meaning=1, started_us=NOON, finished_us=NOON + 5, customers=7, changed=2
        )
        assert await store.audience_evaluation("c1") is None
        await store.put_audience_evaluation(first)
        assert await store.audience_evaluation("c1") == first
        second = replace(first, revision=9, meaning=2, started_us=NOON + 9, finished_us=NOON + 9, changed=0)
        await store.put_audience_evaluation(second)
        assert await store.audience_evaluation("c1") == second
        assert await store.audience_evaluation("c2") is None
        with pytest.raises(NotFound):
            await store.put_audience_evaluation(replace(first, container="c3"))


class StoreContract(CatalogStoreContract, TokenStoreContract, LeaseStoreContract):
    """Contract of `Store`."""

    @store_test
    async def test_closing_finishes_what_was_begun(self, store: Store) -> None:
        """Closing completes pending writes; closing twice is harmless."""
        await store.ensure_container(a_container())
        write = asyncio.create_task(store.commit("c1", 0, [a_version(1)]))
        await asyncio.sleep(0)
        await store.close()
        await store.close()

        assert await write is None  # type: ignore[func-returns-value]


def _revision_and_versions(picture: tuple[int, Sequence[Instance]]) -> tuple[int, list[Instance]]:
    revision, versions = picture
    return revision, list(versions)


def _deep(levels: int) -> dict[str, Any]:
    """Return a document of nested objects."""
    document: dict[str, Any] = {"leaf": [1, [2, [3.5]]]}
    for _ in range(levels):
        document = {"inside": document}
    return document


async def _write_one_by_one(store: Store, count: int) -> None:
    for revision in range(1, count + 1):
        await store.commit("c1", revision - 1, [a_version(revision, f"n{revision}")])


async def _commit_with_retry(store: Store, name: str) -> None:
    """Write a new object, retrying while the revision is stale."""
    while True:
        based_on = (await store.revisions())["c1"]
        try:
            return await store.commit("c1", based_on, [a_version(based_on + 1, name)])
        except StaleRevision:
            await asyncio.sleep(0)
