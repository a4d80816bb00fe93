"""Rule engines from PyPI, which get the same rules and whole profiles.

`PEERS` gives them by name. Their factories take the rules and return a function from a profile to the
numbers of the rules that hold. Each engine is used as its documentation shows for many rules: compiled in
advance if it can be, otherwise called for each rule. Engines that know only flat attributes get flat profiles.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from _library import Profile, Test, literal, passes

Rules = Sequence[Sequence[Test]]
RuleMatcher = Callable[[Profile], list[int]]


def _text(tests: Sequence[Test], joined: str) -> str:
    return joined.join(f"{path} {sign} {literal(constant)}" for path, sign, constant in tests)


def _flat(profile: Profile) -> Iterator[tuple[str, Any]]:
    for group, fields in profile.items():
        for name, value in fields.items():
            if not isinstance(value, dict):
                yield f"{group}_{name}", value


def by_hand(rules: Rules) -> RuleMatcher:
    """Evaluate the rules in plain Python: a loop that stops at the first test that fails."""
    split_tests: list[list[tuple[str, str, Test]]] = [
        [(test[0].partition(".")[0], test[0].partition(".")[2], test) for test in tests] for tests in rules
    ]

    def ask(profile: Profile) -> list[int]:
        return [
            number
            for number, tests in enumerate(split_tests)
            if all(passes(test, profile[group][name]) for group, name, test in tests)
        ]

    return ask


def zen(rules: Rules) -> RuleMatcher:
    import zen as engine  # type: ignore[import-not-found,unused-ignore]

    compiled = [engine.compile_expression(_text(tests, " and ")) for tests in rules]
    return lambda profile: [at for at, expression in enumerate(compiled) if expression.evaluate(profile)]


def cel_rust(rules: Rules) -> RuleMatcher:
    import cel  # type: ignore[import-not-found,unused-ignore]

    compiled: list[Any] = [cel.compile(_text(tests, " && ")) for tests in rules]
    return lambda profile: [at for at, program in enumerate(compiled) if program.execute(profile)]


def cel_python(rules: Rules) -> RuleMatcher:
    import celpy  # type: ignore[import-not-found,unused-ignore]

    engine: Any = celpy
    environment = engine.Environment(runner_class=engine.CompiledRunner)
    compiled: list[Any] = [environment.program(environment.compile(_text(tests, " && "))) for tests in rules]

    def ask(profile: Profile) -> list[int]:
        data = {name: engine.json_to_cel(value) for name, value in profile.items()}
        return [at for at, program in enumerate(compiled) if program.evaluate(data)]

    return ask


def json_logic(rules: Rules) -> RuleMatcher:
    from json_logic import jsonLogic  # type: ignore[import-not-found,import-untyped,unused-ignore]

    conditions = [{"and": [{sign: [{"var": path}, constant]} for path, sign, constant in tests]} for tests in rules]
    return lambda profile: [at for at, condition in enumerate(conditions) if jsonLogic(condition, profile)]


def growthbook(rules: Rules) -> RuleMatcher:
    from growthbook.core import evalCondition  # type: ignore[import-not-found,import-untyped,unused-ignore]

    signs = {"==": "$eq", "in": "$in", ">=": "$gte", "<": "$lt"}
    conditions = [{path: {signs[sign]: constant} for path, sign, constant in tests} for tests in rules]
    return lambda profile: [at for at, condition in enumerate(conditions) if evalCondition(profile, condition)]


def unleash(rules: Rules) -> RuleMatcher:
    import json

    from yggdrasil_engine.engine import UnleashEngine  # type: ignore[import-not-found,import-untyped,unused-ignore]

    def constraint(test: Test) -> dict[str, Any]:
        path, sign, constant = test
        name = path.replace(".", "_")
        if sign in ("==", "in"):
            values = constant if isinstance(constant, list) else [constant]
            return {"contextName": name, "operator": "IN", "values": values}
        operator = "NUM_GTE" if sign == ">=" else "NUM_LT"
        return {"contextName": name, "operator": operator, "value": str(constant)}

    features = [
        {
            "name": f"rule {number}",
            "enabled": True,
            "strategies": [{"name": "default", "constraints": [constraint(rule_test) for rule_test in tests]}],
        }
        for number, tests in enumerate(rules)
    ]
    engine: Any = UnleashEngine()
    engine.take_state(json.dumps({"version": 2, "features": features}))
    names = [f"rule {number}" for number in range(len(rules))]

    def ask(profile: Profile) -> list[int]:
        context = {"properties": {name: str(value) for name, value in _flat(profile)}}
        return [at for at, name in enumerate(names) if engine.check_enabled(name, context).is_enabled]

    return ask


def flagsmith(rules: Rules) -> RuleMatcher:
    from flag_engine.engine import get_evaluation_result  # type: ignore[import-not-found,unused-ignore]

    signs = {"==": "EQUAL", "in": "IN", ">=": "GREATER_THAN_INCLUSIVE", "<": "LESS_THAN"}

    def condition(test: Test) -> dict[str, Any]:
        path, sign, constant = test
        value = constant if isinstance(constant, list) else str(constant)
        return {"property": path.replace(".", "_"), "operator": signs[sign], "value": value}

    segments = {
        str(number): {
            "key": str(number),
            "name": str(number),
            "rules": [{"type": "ALL", "conditions": [condition(rule_test) for rule_test in tests]}],
        }
        for number, tests in enumerate(rules)
    }

    def ask(profile: Profile) -> list[int]:
        context: Any = {
            "environment": {"key": "e", "name": "e"},
            "identity": {"identifier": "i", "key": "i", "traits": dict(_flat(profile))},
            "segments": segments,
            "features": {},
        }
        return sorted(int(rule_test["name"]) for rule_test in get_evaluation_result(context)["segments"])

    return ask


PEERS: dict[str, tuple[str, Callable[[Rules], RuleMatcher], int]] = {
    "zen-engine (Rust)": ("zen", zen, 1_000),
    "json-logic-qubit": ("json_logic", json_logic, 1_000),
    "GrowthBook": ("growthbook", growthbook, 1_000),
    "Unleash (yggdrasil-engine, Rust)": ("yggdrasil_engine", unleash, 1_000),
    "Flagsmith engine": ("flag_engine", flagsmith, 1_000),
    "common-expression-language (Rust)": ("cel", cel_rust, 1_000),
    "cel-python": ("celpy", cel_python, 50),
}
"""By name: the module to look for, the factory, and the number of rules that are compiled."""
