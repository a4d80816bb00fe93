"""The rows of decision events, whole documents, as they stand in `spec/wire/events`.

`cd tests && python -m service.event_log.test_rows` writes the rows anew; read the difference before you keep it.
"""

from pathlib import Path
from typing import Any

from proffer.model.events import DecisionEvent, ScopeAnswer, Selection
from proffer.model.identity import IdentityKey
from proffer.model.ids import EntityKind
from proffer.model.instance import Actor, Container
from proffer.model.request import DecisionRequest, ScopeRequest
from proffer.service.event_log.rows import DECISIONS, VersionIndex, decision_row
from proffer.service.exports.files import json_row
from proffer.testing import builders as b
from support.golden import Case, load, rewrite

PATH = Path(__file__).parents[3] / "spec" / "wire" / "events" / "decision.json"


def row(_: Case) -> Case:
    """Return the row of a decision with two options by a formula in one scope, and the fallback in another."""
    documents = b.a_library(
        b.an_offer("gold", tags=["vip"]) | {"xdm:characteristics": {"colour": "gold"}}, b.an_offer("silver")
    )
    container = Container(
        id="c1",
        organisation="ACME@AdobeOrg",
        sandbox="prod",
        name="prod",
        created_us=0,
        created_by=Actor(user="dev", client="dev"),
    )
    versions = VersionIndex(container)
    versions.add(b.instances(documents))
    decision, web = b.id_of(EntityKind.DECISION, "decision"), b.id_of(EntityKind.PLACEMENT, "web")
    formula = b.id_of(EntityKind.FORMULA, "margin")
    scope: dict[str, Any] = {"decision": decision, "decision_etag": 1, "placement": web, "placement_etag": 1}
    event = DecisionEvent(
        id="0192e7a4-6f00-7abc-8def-001122334455",
        container="c1",
        decided_us=1_767_268_800_000_000,
        revision=7,
        surface="ode",
        request=DecisionRequest(scopes=(ScopeRequest(decision, web, 2), ScopeRequest(decision, web))),
        answers=(
            ScopeAnswer(
                **scope,
                selections=(
                    Selection(
                        offer=b.id_of(EntityKind.OFFER, "gold"), etag=1, rank=1, score=2.5, formula=formula, criterion=0
                    ),
                    Selection(offer=b.id_of(EntityKind.OFFER, "silver"), etag=1, rank=3, criterion=1),
                ),
            ),
            ScopeAnswer(**scope, fallback=Selection(offer=b.id_of(EntityKind.FALLBACK, "fallback"), etag=1)),
        ),
        identities=(IdentityKey("Email", "ann@x"),),
        request_id="request-1",
        customer_found=True,
        meaning=2,
    )
    value: Case = json_row(DECISIONS, decision_row(event, versions))
    return value


def test_the_row_of_a_decision_has_the_published_names() -> None:
    """`_repo.etag`, rank and strategy on the proposition detail; all that is ours is under `_proffer`."""
    case = load(PATH)

    assert row(case) == case["answer"]


if __name__ == "__main__":
    rewrite(PATH, row)
