"""How fast rules are: asked, checked and compiled; beside code written by hand, and beside others if they are here.

    python bench/pql_rules.py

Prints one line a measurement: processor time, the best of several repetitions. What is compared is
measured by turns in one run, so the ratios mean more than the times.
"""

import importlib.util
import json
import resource
import time
import timeit
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

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
"""A customer of five groups of five fields: a small profile, as they go. Everybody gets it whole."""
NONE: dict[str, Any] = {}


def by_hand(profile: Mapping[str, Any]) -> bool:
    """What somebody would write who knows the types."""
    return (
        (profile.get("person") or NONE).get("gender") == "female"
        and (profile.get("homeAddress") or NONE).get("countryCode") in ("US", "CA")
        and ((profile.get("loyalty") or NONE).get("points") or 0) >= 1000
    )


def best(action: Callable[[], object], seconds: float = 0.1) -> float:
    """Seconds of processor time a call takes, at best."""
    timer = timeit.Timer(action, timer=time.process_time)
    number = max(1, int(seconds / max(1e-9, timer.timeit(1) or 1e-9)))
    number = max(number, int(seconds * number / max(1e-9, timer.timeit(number))))
    return min(timer.repeat(repeat=7, number=number)) / number


def report(what: str, value: str, goal: str = "") -> None:
    print(f"{what:<58} {value:>16}   {goal}")


def compiled(text: str) -> CompiledRule:
    rule = compile_rule(text)
    assert isinstance(rule, CompiledRule), rule
    return rule


def pair(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Both by turns, so that a busy machine is unfair to neither."""
    rounds = [(best(first, 0.02), best(second, 0.02)) for _ in range(7)]
    return min(mine for mine, _ in rounds), min(yours for _, yours in rounds)


def asked() -> None:
    """One rule of three tests, all true."""
    rule, env = compiled(TEXT), Environment(PROFILE, datetime.now(UTC))
    holds = rule.holds
    assert holds(env) is by_hand(PROFILE) is True
    hand, ours = pair(lambda: by_hand(PROFILE), lambda: holds(env))
    empty = best(lambda: None)
    report("one rule of three tests, by hand", f"{(hand - empty) * 1e9:.0f} ns")
    report("one rule of three tests, compiled", f"{(ours - empty) * 1e9:.0f} ns")
    report("  ratio", f"{(ours - empty) / (hand - empty):.2f} x", "goal 1.5 x")


def checked() -> None:
    """A rule of about a hundred characters, read and checked, and compiled to a function."""
    report(
        f"check {len(TEXT)} characters",
        f"{best(lambda: check_text(TEXT)) * 1e6:.0f} µs",
        "goal 300 µs",
    )
    report("compile them", f"{best(lambda: compile_rule(TEXT)) * 1e6:.0f} µs")


def many(count: int = 10_000) -> None:
    """As many rules as one organisation may have."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    rules = [compiled(TEXT.replace("1000", str(at)).replace("US", f"U{at}")) for at in range(count)]
    took = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    report(f"compile {len(rules):,} rules", f"{took:.1f} s", "goal 15 s")
    report("  memory", f"{grown:.0f} MB", "goal 300 MB")


def columns(rows: int = 200_000) -> None:
    """The same rule over many profiles, encoding not counted."""
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("pyarrow") is None:
        report("columns", "not installed")
        return
    from proffer.pql.columns import Table
    from proffer.pql.to_columns import ColumnRule, to_columns

    plan = to_columns(compiled(TEXT).checked)
    assert isinstance(plan, ColumnRule)
    genders, countries = ("female", "male", None), ("US", "CA", "DE", "FR", None)
    profiles = [
        {
            "person": {"gender": genders[at % 3]},
            "homeAddress": {"countryCode": countries[at % 5]},
            "loyalty": {"points": at % 4000},
        }
        for at in range(rows)
    ]
    table, env = Table.of(profiles, plan.paths), Environment({}, datetime.now(UTC))
    took = best(lambda: plan.holds(table, env))
    report(f"columns, {rows:,} rows", f"{took / rows * 1e9:.1f} ns a row")


def peers() -> None:
    """Others on the same rule and profile; they raise where a field is missing, which is not measured."""
    holds, env = compiled(TEXT).holds, Environment(PROFILE, datetime.now(UTC))
    for name, goal, make in (("zen", 20, zen), ("celpy", 100, celpy), ("cel", 100, rust_cel)):
        if importlib.util.find_spec(name) is None:
            report(f"peer {name}", "not installed")
            continue
        took, ours = pair(make(), lambda: holds(env))
        report(f"peer {name}", f"{took * 1e6:.1f} µs")
        report("  ratio", f"{took / ours:.0f} x", f"goal {goal} x")


CEL = (
    'person.gender == "female" && homeAddress.countryCode in ["US", "CA"] && loyalty.points >= 1000'
)


def zen() -> Callable[[], object]:
    import zen as engine  # type: ignore[import-not-found,unused-ignore]

    text = 'person.gender == "female" and homeAddress.countryCode in ["US", "CA"] and loyalty.points >= 1000'
    expression = engine.compile_expression(text)
    assert expression.evaluate(PROFILE) is True
    return lambda: expression.evaluate(PROFILE)


def celpy() -> Callable[[], object]:
    import celpy as cel  # type: ignore[import-not-found,unused-ignore]

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


if __name__ == "__main__":
    asked()
    checked()
    many()
    peers()
    columns()
