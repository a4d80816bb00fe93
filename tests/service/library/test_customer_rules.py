"""The customer schema of a container: audiences by name, and rules compiled against the loaded schemas."""

from typing import Any

import pytest

from proffer.app import Services
from proffer.auth.principal import Permission, Principal
from proffer.pql import compile_rule
from proffer.service.library import customer_rules
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.memory.store import MemoryStore
from support.clock import SetClock

pytestmark = pytest.mark.anyio
BY = Principal(organisation="acme", sandbox="prod", permissions=frozenset({Permission.ADMIN}), user="u", client="c")


async def _opened(store: MemoryStore) -> tuple[Services, AuthorizedContainer]:
    services = Services(store, SetClock())
    container = await services.tokens.container("acme", "prod")
    await services.registry.catch_up()
    return services, services.registry.authorize(BY, container.id)


async def test_a_container_is_opened_with_one_compilation_of_each_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    services, access = await _opened(store)
    for number in range(3):
        expression = {"type": "PQL", "format": "pql/text", "value": f"n > {number}"}
        await services.audiences.create(access, {"name": f"above {number}", "expression": expression})
    for root in ("profile", "xEvent", "@shop"):
        await services.schemas.load(access, root, {"n": "integer"})
    names: list[str] = []

    def counting_compile(*args: Any, name: str, **options: Any) -> Any:
        names.append(name)
        return compile_rule(*args, name=name, **options)

    monkeypatch.setattr(customer_rules, "compile_rule", counting_compile)
    _, reopened = await _opened(store)

    assert sorted(names) == ["above 0", "above 1", "above 2"]
    ids = {audience.document["name"]: audience.instance_id for audience in services.audiences.all_audiences(access)}
    assert reopened.state.customer_schema.audience_ids == ids
    assert reopened.state.customer_schema.context_types["shop"].violations({"n": "x", "m": 1})


async def test_the_name_of_a_deleted_audience_names_the_next_oldest() -> None:
    services, access = await _opened(MemoryStore())
    document = {"name": "same", "expression": {"type": "LIST"}}
    first = (await services.audiences.create(access, document)).instance.instance_id
    second = (await services.audiences.create(access, document)).instance.instance_id
    schema = access.state.customer_schema
    assert schema.audience_ids == {"same": min(first, second)}
    await services.audiences.delete(access, min(first, second))
    assert schema.audience_ids == {"same": max(first, second)}
