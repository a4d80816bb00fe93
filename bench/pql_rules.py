"""Evaluation, checking and compilation of rules, compared with Python and other engines.

    python bench/pql_rules.py [--quick]

Times are processor time. The other engines get the same rule and the same profile. With a missing field they
raise an error, where Proffer's rule is false: that is not measured.
"""

import importlib.util
import json
import resource
import statistics
import time
import timeit
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from _measure import Row, by_turns, compare_rounds, run_standalone
from proffer.pql import CompiledRule, Environment, check_text, compile_rule

TEXT = 'person.gender = "female" and homeAddress.countryCode in ["US", "CA"] and loyalty.points >= 1000'
PROFILE: dict[str, Any] = {
    "person": {
        "gender": "female",
        "birthYear": 1985,
        "name": {"firstName": "Ann", "lastName": "Lee"},
        "nationality": "US",
        "maritalStatus": "single",
    },
    "homeAddress": {
        "countryCode": "US",
        "city": "Reno",
        "postalCode": "89501",
        "street1": "1 Main Street",
        "stateProvince": "NV",
    },
    "loyalty": {
        "points": 2000,
        "tier": "gold",
        "program": "stars",
        "joinDate": "2019-04-01",
        "lifetimePoints": 9100,
    },
    "personalEmail": {
        "address": "ann@example.com",
        "type": "home",
        "status": "active",
        "primary": True,
        "label": "private",
    },
    "consents": {
        "marketing": {"email": {"val": "y"}, "sms": {"val": "n"}},
        "collect": {"val": "y"},
        "share": {"val": "n"},
        "personalize": {"content": {"val": "y"}},
        "metadata": {"time": "2024-05-01T10:00:00Z"},
    },
}
"""A small profile of five groups of five fields; every engine gets the whole of it."""
NONE: dict[str, Any] = {}
ASKED = "One rule of three tests, all true"
BY_HAND = "handwritten Python"


def by_hand(profile: Mapping[str, Any]) -> bool:
    """Evaluate the rule in plain Python, with known types."""
    return (
        (profile.get("person") or NONE).get("gender") == "female"
        and (profile.get("homeAddress") or NONE).get("countryCode") in ("US", "CA")
        and ((profile.get("loyalty") or NONE).get("points") or 0) >= 1000
    )


def best(action: Callable[[], object], seconds: float = 0.1) -> float:
    """Return the minimum processor time of a call, in seconds."""
    timer = timeit.Timer(action, timer=time.process_time)
    number = max(1, int(seconds / max(1e-9, timer.timeit(1) or 1e-9)))
    number = max(number, int(seconds * number / max(1e-9, timer.timeit(number))))
    return min(timer.repeat(repeat=7, number=number)) / number


def compile_text(text: str) -> CompiledRule:
    rule = compile_rule(text)
    assert isinstance(rule, CompiledRule), rule
    return rule


def rows(*, quick: bool) -> Iterator[Row]:
    yield from evaluation()
    yield from peers()
    yield from compilation()
    yield from many_rules(1_000 if quick else 10_000)
    yield from columns(20_000 if quick else 200_000)


def evaluation() -> Iterator[Row]:
    """One rule of three tests, all true; the cost of an empty call is subtracted from both sides."""
    rule, env = compile_text(TEXT), Environment(PROFILE, datetime.now(UTC))
    holds = rule.holds
    assert holds(env) is by_hand(PROFILE) is True
    took = by_turns({"nothing": lambda: None, "hand": lambda: by_hand(PROFILE), "ours": lambda: holds(env)})
    hand = [duration - none for duration, none in zip(took["hand"], took["nothing"], strict=True)]
    ours = [duration - none for duration, none in zip(took["ours"], took["nothing"], strict=True)]
    ratio, spread = compare_rounds(ours, hand)
    yield Row(table=ASKED, name=BY_HAND, value=statistics.median(hand) * 1e3, unit="ns")
    yield Row(
        table=ASKED,
        name="compiled by Proffer",
        value=statistics.median(ours) * 1e3,
        unit="ns",
        baseline=BY_HAND,
        ratio=ratio,
        spread=spread,
        goal="at most 1.5",
    )


def compilation() -> Iterator[Row]:
    """Check and compile a rule of about a hundred characters."""
    calls = {"check": lambda: check_text(TEXT), "check and compile": lambda: compile_rule(TEXT)}
    for name, took in by_turns(calls).items():
        yield Row(
            table=f"A rule of {len(TEXT)} characters",
            name=name,
            value=statistics.median(took),
            unit="µs",
            spread=(min(took), max(took)),
            goal="300 µs" if name == "check" else "",
        )


def many_rules(count: int) -> Iterator[Row]:
    """As many rules as one organisation may have."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    rules = [compile_text(TEXT.replace("1000", str(at)).replace("US", f"U{at}")) for at in range(count)]
    took = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    table = f"{len(rules):,} rules"
    yield Row(table=table, name="compile", value=took, unit="s", goal="15 s for 10,000")
    yield Row(table=table, name="memory", value=grown, unit="MB", goal="300 MB for 10,000")


def columns(count: int) -> Iterator[Row]:
    """The same rule over many profiles in columns, encoding excluded."""
    from proffer.pql.columns.columns import ProfileTable
    from proffer.pql.columns.rule_columns import ColumnRule, to_columns

    plan = to_columns(compile_text(TEXT).checked)
    assert isinstance(plan, ColumnRule)
    genders, countries = ("female", "male", None), ("US", "CA", "DE", "FR", None)
    profiles = [
        {
            "person": {"gender": genders[at % 3]},
            "homeAddress": {"countryCode": countries[at % 5]},
            "loyalty": {"points": at % 4000},
        }
        for at in range(count)
    ]
    table, env = ProfileTable.of(profiles, plan.paths), Environment({}, datetime.now(UTC))
    took = best(lambda: plan.holds(table, env))
    yield Row(
        table=f"One rule over {count:,} profiles in columns, without their encoding",
        name="columns",
        value=took / count * 1e9,
        unit="ns/profile",
    )


def peers() -> Iterator[Row]:
    """Other engines on the same rule and profile."""
    holds, env = compile_text(TEXT).holds, Environment(PROFILE, datetime.now(UTC))
    for name, module, goal, make in PEERS:
        if importlib.util.find_spec(module) is None:
            continue
        took = by_turns({"theirs": make(), "ours": lambda: holds(env)})
        ratio, spread = compare_rounds(took["theirs"], took["ours"])
        yield Row(
            table=ASKED,
            name=name,
            value=statistics.median(took["theirs"]) * 1e3,
            unit="ns",
            baseline="compiled by Proffer",
            ratio=ratio,
            spread=spread,
            goal=f"at least {goal}",
        )


CEL = 'person.gender == "female" && homeAddress.countryCode in ["US", "CA"] && loyalty.points >= 1000'


def zen() -> Callable[[], object]:
    import zen as engine  # type: ignore[import-not-found,unused-ignore]

    text = 'person.gender == "female" and homeAddress.countryCode in ["US", "CA"] and loyalty.points >= 1000'
    expression = engine.compile_expression(text)
    assert expression.evaluate(PROFILE) is True
    return lambda: expression.evaluate(PROFILE)


def celpy() -> Callable[[], object]:
    import celpy  # type: ignore[import-not-found,unused-ignore]

    cel: Any = celpy
    environment = cel.Environment(runner_class=cel.CompiledRunner)
    program: Any = environment.program(environment.compile(CEL))
    data = {name: cel.json_to_cel(json.loads(json.dumps(value))) for name, value in PROFILE.items()}
    assert program.evaluate(data)
    return lambda: program.evaluate(data)


def rust_cel() -> Callable[[], object]:
    import cel  # type: ignore[import-not-found,unused-ignore]

    program: Any = cel.compile(CEL)
    assert program.execute(PROFILE) is True
    return lambda: program.execute(PROFILE)


PEERS = (
    ("zen-engine (Rust)", "zen", 20, zen),
    ("cel-python", "celpy", 100, celpy),
    ("common-expression-language (Rust)", "cel", 100, rust_cel),
)


if __name__ == "__main__":
    run_standalone(rows, __doc__)
