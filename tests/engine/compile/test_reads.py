"""What has to be known before a scope can be decided."""

from proffer.engine.snapshot import CompiledScope
from proffer.model.ids import EntityKind
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
    a_rule,
    a_snapshot,
    an_offer,
    by_formula,
    id_of,
)


def the_scope(*documents: Document) -> CompiledScope:
    (decision,) = a_snapshot(a_library(*documents)).decisions.values()
    (scope,) = decision.scopes.values()
    return scope


def an_offer_saying(name: str, text: str) -> Document:
    return an_offer(name, content={"web": [a_component("html", text)]})


def test_a_scope_names_the_limits_of_its_candidates() -> None:
    """Once each, whatever brought the offer in; of an offer that cannot be given, none."""
    scope = the_scope(
        an_offer("capped", cap=3, profile_cap=1),
        an_offer("resting", cap=3, status="draft"),
        an_offer("free"),
        a_collection("twice", ["capped", "resting", "free"]),
        a_decision("decision", a_criterion("twice"), a_criterion("twice", priority=2)),
    )
    capped = id_of(EntityKind.OFFER, "capped")

    assert [(offer, limit.name, limit.limit) for offer, limit in scope.caps] == [
        (capped, "globalCap", 3),
        (capped, "profileCap", 1),
    ]


def test_a_scope_names_what_its_rules_formulas_and_audiences_read() -> None:
    """Those of offers and those of criteria; what is read of the offer itself is in the library already."""
    ruled = an_offer("ruled", rule="adult")
    ruled["xdm:rank"] |= {"xdm:order": by_formula("own")}
    scope = the_scope(
        ruled,
        an_offer("member", constraint=a_constraint(any_audience=["vip", "crm/old"])),
        a_rule("adult", "person.age >= 18 and @{weather}.celsius > 3"),
        a_rule("french", 'homeAddress.country = "FR"'),
        a_formula("own", "offer.rank.priority * loyalty.points"),
        a_collection("all", ["ruled", "member"]),
        a_decision("decision", a_criterion("all", constraint=a_constraint(rule="french"))),
    )

    assert scope.reads == {
        "profile.person.age",
        "context:weather.celsius",
        "profile.homeAddress.country",
        "profile.loyalty.points",
        "profile.segmentMembership.ups.vip",
        "profile.segmentMembership.crm.old",
    }


def test_a_scope_names_what_its_content_reads() -> None:
    """In every kind of mark, and in the content of the fallback; names that the template gives are not fields."""
    text = (
        "{{ profile.person.name ?: homeAddress.city }}"
        "{% let tier = loyalty.tier %}{{ tier }}"
        "{{#each orders as |order|}}{{ order.total }}{{/each}}"
        "{{#if context.celsius > 3}}{{ offer.name }}{{else}}{{ @{weather}.word }}{{/if}}"
    )
    scope = the_scope(
        an_offer_saying("greeting", text),
        a_fallback(content={"web": [a_component("html", "{{ person.title }}")]}),
    )

    assert scope.reads == {
        "profile.person.name",
        "profile.homeAddress.city",
        "profile.loyalty.tier",
        "profile.orders",
        "context.celsius",
        "context:weather.word",
        "profile.person.title",
    }


def test_a_scope_that_reads_all_of_the_customer_says_so() -> None:
    """A bare root stands for everything of it."""
    scope = the_scope(an_offer("any", rule="any"), a_rule("any", "isNotNull(profile)"))

    assert scope.reads == {"profile"}
