"""From the catalogue to a snapshot: what is wrong is reported, and little is built again."""

from typing import Any

from proffer.engine.compile.bind import bind_rule
from proffer.engine.compile.compiler import SnapshotBuilder
from proffer.engine.decide import decide
from proffer.engine.index.pool import Pool
from proffer.engine.snapshot import Snapshot, SnapshotDiagnostic, empty_snapshot
from proffer.model.field_schema import FieldSchema
from proffer.model.ids import EntityKind
from proffer.model.outcome import Proposition
from proffer.model.rule import EligibilityRule
from proffer.pql import schema_with
from proffer.testing.builders import (
    Document,
    a_collection,
    a_component,
    a_constraint,
    a_criterion,
    a_decision,
    a_fallback,
    a_formula,
    a_library,
    a_placement,
    a_rule,
    a_scope,
    a_snapshot,
    an_entity,
    an_offer,
    entities,
    id_of,
    some_inputs,
)


def causes(snapshot: Snapshot) -> list[str]:
    (tree,) = snapshot.diagnostics
    return [cause.description for cause in tree.causes]


def told(*documents: Document) -> list[str]:
    """What is said to be wrong with the decision of this library."""
    return causes(a_snapshot(a_library(*documents)))


def test_an_empty_snapshot_is_that_of_an_empty_catalogue() -> None:
    """Nothing written yet is no special case."""
    assert empty_snapshot("c1") == SnapshotBuilder("c1").apply([], 0)


def test_a_sound_library_has_no_faults() -> None:
    """Nor has one whose faults lie in decisions that are not live."""
    sound = a_snapshot(a_library(an_offer("gold", rule="adult"), a_rule("adult")))
    resting = a_snapshot([a_decision("resting", a_criterion("nothing"), status="draft")])

    assert sound.diagnostics == resting.diagnostics == ()


def test_a_rule_that_does_not_compile_is_reported_with_the_reasons() -> None:
    """The tree leads from the decision to the rule to what the compiler says, with ids and etags."""
    snapshot = a_snapshot(a_library(an_offer("gold", rule="bad"), a_rule("bad", "person.age >=")))
    rule = an_entity(a_rule("bad", "person.age >="))
    assert isinstance(rule, EligibilityRule)
    reasons = tuple(SnapshotDiagnostic(description=one.message) for one in bind_rule(rule, schema_with({})).diagnostics)

    assert reasons
    assert snapshot.diagnostics == (
        SnapshotDiagnostic(
            description="Errors were found while compiling the scopes of decision `decision`",
            id=id_of(EntityKind.DECISION, "decision"),
            instance_id=f"instance of {id_of(EntityKind.DECISION, 'decision')}",
            etag=1,
            causes=(
                SnapshotDiagnostic(
                    description="Encountered issues with the dependency: eligibility rule `bad`",
                    id=rule.id,
                    instance_id=rule.instance_id,
                    etag=1,
                    causes=(SnapshotDiagnostic(description="Error while validating PQL query", causes=reasons),),
                ),
            ),
        ),
    )


def test_a_rule_is_reported_once_however_often_it_is_used() -> None:
    """By two offers and a criterion, in two placements."""
    library = a_library(
        a_placement("web"),
        a_placement("app"),
        an_offer("gold", content=["web", "app"], rule="bad"),
        an_offer("silver", content=["web", "app"], rule="bad"),
        a_rule("bad", "("),
        a_collection("all", ["gold", "silver"]),
        a_decision(
            "decision",
            a_criterion("all", placements=["web", "app"], constraint=a_constraint(rule="bad")),
        ),
    )

    assert len(causes(a_snapshot(library))) == 1


def test_what_is_not_in_the_library_is_reported() -> None:
    """Only an import can leave such gaps: a rule, a placement, a collection, the fallback itself."""
    nothing = "Encountered issues with the dependency: `{}` is not in the library"

    assert told(an_offer("gold", rule="x")) == [nothing.format(id_of(EntityKind.RULE, "x"))]
    assert told(a_decision("d", a_criterion("x"))) == [nothing.format(id_of(EntityKind.COLLECTION, "x"))]
    assert told(a_decision("d", a_criterion(placements=["web", "x"]))) == [
        nothing.format(id_of(EntityKind.PLACEMENT, "x"))
    ]
    assert told(a_decision("d", a_criterion(), fallback="x")) == [nothing.format(id_of(EntityKind.FALLBACK, "x"))]


def test_a_fallback_that_breaks_the_guarantee_is_reported() -> None:
    """It is served all the same: a poor answer is better than none."""
    decision = a_decision("d", a_criterion())

    assert told(decision, a_fallback(status="draft")) == ["The fallback offer `fallback` is draft, not approved"]
    lacking: list[dict[str, list[Document]]] = [{}, {"web": []}, {"web": [a_component("json")]}]
    for content in lacking:
        assert told(decision, a_fallback(content=content)) == [
            "The fallback offer `fallback` has no content for placement `web`"
        ]


def test_a_write_builds_only_the_decisions_it_reaches() -> None:
    """Those it does not reach are the very same objects as before."""
    library = a_library(
        an_offer("gold", rule="adult"),
        an_offer("silver"),
        a_rule("adult"),
        a_collection("c1", ["gold"]),
        a_collection("c2", ["silver"]),
        a_decision("d1", a_criterion("c1")),
        a_decision("d2", a_criterion("c2")),
    )
    builder = SnapshotBuilder("c1")
    before = builder.apply(entities(library).items(), 1)
    rule = an_entity(a_rule("adult", "person.age >= 21"))
    after = builder.apply([(id_of(EntityKind.RULE, "adult"), rule)], 2)
    first, second = id_of(EntityKind.DECISION, "d1"), id_of(EntityKind.DECISION, "d2")

    assert before.decisions[second] is after.decisions[second]
    assert before.decisions[first] is not after.decisions[first]


def test_a_snapshot_stays_as_it_was() -> None:
    """What is built later does not show in it: requests under way go on with what they have."""
    builder = SnapshotBuilder("c1")
    library = entities(a_library(an_offer("gold")))
    before = builder.apply(library.items(), 1)
    builder.apply([(key, None) for key in library], 2)

    assert list(before.decisions) == [id_of(EntityKind.DECISION, "decision")]
    assert list(before.placements) == [id_of(EntityKind.PLACEMENT, "web")]


def test_candidates_stand_in_the_order_of_their_priorities() -> None:
    """Whatever the order of the collection; the later stages rely on it."""
    offers = [an_offer(f"o{n}", priority=n * 7 % 5) for n in range(5)]
    snapshot = a_snapshot(a_library(*offers))
    scope = snapshot.decisions[id_of(EntityKind.DECISION, "decision")].scopes
    ((criterion,),) = scope[id_of(EntityKind.PLACEMENT, "web")].groups

    assert [one.bound_offer.offer.priority for one in criterion.candidates] == [4, 3, 2, 1, 0]


def test_an_index_serves_on_while_offers_ask_the_same() -> None:
    """Another name needs no new index of thousands of rules; another rule, rank or date does."""
    documents = a_library(
        an_offer("gold", rule="adult", tags=["t"]),
        an_offer("iron", tags=["t"]),
        a_rule("adult"),
        a_rule("old", "person.age >= 65"),
        a_collection("all", any_tags=["t"]),
        a_decision("decision", a_criterion("all")),
    )
    builder = SnapshotBuilder("c1")
    before = builder.apply(entities(documents).items(), 1)

    def changed(revision: int, **how: Any) -> Snapshot:
        offer = an_entity(an_offer("gold", **{"rule": "adult", "tags": ["t"], **how}))
        return builder.apply([(offer.id, offer)], revision)

    def pool(snapshot: Snapshot) -> Pool:
        (scope,) = snapshot.decisions[id_of(EntityKind.DECISION, "decision")].scopes.values()
        return scope.pool

    renamed = changed(2, **{"xdm:name": "Gold", "cap": 3})
    assert pool(renamed).calendar is pool(before).calendar
    names = [one.offer.name for one in pool(renamed).offers]
    assert sorted(names) == ["Gold", "iron"]
    assert [one.offer.name for one in pool(renamed).index.offers] == names
    assert pool(renamed).capped == 1 << names.index("Gold")
    kept = pool(renamed).calendar  # made together with the index
    others: list[dict[str, Any]] = [{"rule": "old"}, {"priority": 9}, {"window": (0, 1)}]
    for revision, how in enumerate(others, 3):
        made = pool(changed(revision, **how)).calendar
        assert made is not kept
        kept = made


def test_live_rules_formulas_and_content_compare_by_the_types_of_a_schema_loaded_later() -> None:
    """Two fields that hold texts are numbers as soon as the schema says so, and texts again without it."""
    content = {"web": [a_component("html", "{%#if level > least%}above{%else%}below{%/if%}")]}
    library = a_library(
        an_offer("gold", rule="enough", priority=2),
        an_offer("silver", priority=1, content=content),
        a_rule("enough", "level > least"),
        a_formula("by level", "if(level > least, offer.rank.priority, 0 - offer.rank.priority)"),
        a_collection("all", ["gold", "silver"]),
        a_placement(),
        a_fallback(),
        a_decision("decision", a_criterion("all", formula="by level")),
    )
    schema = FieldSchema(id="s", name="profile", fields={"level": "integer", "least": "integer"})
    inputs = some_inputs(a_scope(item_count=2), profile={"level": "9", "least": "10"})
    builder = SnapshotBuilder("c1")

    def offered(snapshot: Snapshot) -> list[tuple[str, float | None, str | None]]:
        (answer,) = decide(snapshot, inputs).scopes
        assert isinstance(answer, Proposition)
        return [(option.offer.name, option.score, option.component.content) for option in answer.options]

    as_texts = offered(builder.apply(entities(library).items(), 1))
    as_numbers = offered(builder.apply([("s", schema)], 2))

    assert [(name, score) for name, score, _ in as_texts] == [("gold", 2), ("silver", 1)]
    assert as_texts[1][2] == "above"
    assert as_numbers == [("silver", -1, "below")]
    assert offered(builder.apply([("s", None)], 3)) == as_texts
