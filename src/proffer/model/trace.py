"""Decision traces: the stage at which each candidate was excluded, and why, in parts and as a sentence."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Protocol

from msgspec import UNSET, Struct, UnsetType

from proffer.model.instance import format_timestamp
from proffer.model.window import TimeWindow

_MAX_TESTS = 8
"""Tests named in a sentence; the parts have all."""


class Stage(StrEnum):
    """Stage at which a candidate was excluded, in execution order; `ranked`: not excluded."""

    STATUS = "status"
    PLACEMENT = "placement"
    CALENDAR = "calendar"
    CRITERION = "criterion"
    ELIGIBILITY = "eligibility"
    CAPPING = "capping"
    DEDUP = "dedup"
    CONTENT = "content"
    RANKED = "ranked"


STAGE_ORDER = {stage: position for position, stage in enumerate(Stage)}


class Named(Protocol):
    """An object of the library: a rule, decision, placement or formula."""

    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


class FailedTest(Protocol):
    """A test of a rule that excludes a candidate: `field operator wanted` in most cases.

    `source` is the test as the rule spells it. `value` is that of the field; UNSET if it is `missing`, or a
    list or an object. `negated`: the test is in a `not`, so it excludes if it holds.
    """

    @property
    def source(self) -> str: ...

    @property
    def operator(self) -> str | UnsetType: ...

    @property
    def value(self) -> Any: ...

    @property
    def missing(self) -> bool: ...

    @property
    def negated(self) -> bool: ...


class FailedTests(Protocol):
    """The failing tests of a rule, which may be evaluated when they are first read."""

    def results(self) -> Sequence[FailedTest]:
        """Return them in the order of the rule's text: at least one."""


class NamedRef(Struct, frozen=True, gc=False):
    """Id and name of an object; the name is the id where it is not known."""

    id: str
    name: str


class AudienceName(Struct, frozen=True, gc=False):
    """An audience: namespace (`ups` for our own) and id; `name` is that of the library, None if unknown."""

    namespace: str
    id: str
    name: str | None = None

    @property
    def text(self) -> str:
        return self.name or f"{self.namespace}/{self.id}"


class CapReason(Struct, frozen=True, gc=False):
    """An exhausted limit and its count. `resets_us`: when the period ends; None if it does not or is unknown."""

    name: str
    limit: int
    used: int
    per: str
    resets_us: int | None = None


class WindowReason(Struct, frozen=True, gc=False):
    """Dates that do not include the time of the request: they are over, or have not begun."""

    window: TimeWindow
    is_over: bool


class EarlierScope(Struct, frozen=True, gc=False):
    """The scope of the same request that was given the offer."""

    decision: Named
    placement: Named


class RankedBy(Struct, frozen=True, gc=False):
    """What ranked an offer: a formula, or its priority. `requested`: the number of offers of the request."""

    formula: Named | None
    requested: int


class Why(Struct, frozen=True, gc=False):
    """The reason of a verdict, in parts; each stage has its own.

    `rule` does not hold because of `tests`; `others` are the other rules of the constraint that do not
    hold. The customer is a member of none of `audiences`. `problem` is a reason without parts; of the
    rule, if there is one.
    """

    rule: Named | None = None
    tests: FailedTests | None = None
    audiences: tuple[AudienceName, ...] = ()
    cap: CapReason | None = None
    window: WindowReason | None = None
    by: EarlierScope | RankedBy | None = None
    problem: str | None = None
    others: "tuple[Why, ...]" = ()


class Verdict(Struct, frozen=True, gc=False):
    """The result of one candidate. `rank` (from 1) and `score` are set only if it was ranked."""

    id: str
    name: str
    stage: Stage
    why: Why
    rank: int | None = None
    score: float | None = None

    @property
    def reason(self) -> str:
        """The reason as an English sentence."""
        return sentence(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTrace:
    """All candidates of one scope: ranked ones first, in order, then the others by stage and name."""

    decision: str
    placement: str
    seed: str
    candidates: tuple[Verdict, ...]


def sentence(verdict: Verdict) -> str:
    """Return the reason of a verdict as an English sentence made from its parts."""
    why = verdict.why
    if not isinstance(why.by, RankedBy):
        return _sentence_of(why)
    formula, requested, rank, score = why.by.formula, why.by.requested, verdict.rank, verdict.score
    basis = f"priority {score}" if formula is None else f"formula `{formula.name}` = {score}"
    suffix = f"; only {requested} requested" if rank is not None and rank > requested else ""
    return f"rank {rank}, by {basis}{suffix}"


def _sentence_of(why: Why) -> str:
    """Return the reason of an exclusion."""
    if why.tests is not None:
        tests = why.tests.results()
        texts = [_test_sentence(test) for test in tests[:_MAX_TESTS]]
        if len(tests) > _MAX_TESTS:
            texts.append(f"{len(tests) - _MAX_TESTS} more tests")
        if why.others:
            texts += map(_sentence_of, why.others)
        return "; ".join(texts)
    if why.problem is not None:
        return why.problem if why.rule is None else f"rule `{why.rule.name}` {why.problem}"
    if why.window is not None:
        window = why.window.window
        moment_us = window.end_us if why.window.is_over else window.start_us
        return f"{'ended' if why.window.is_over else 'starts'} {time_text(moment_us)}"
    if why.cap is not None:
        per = "for this profile" if why.cap.per == "profile" else "in total"
        until = "" if why.cap.resets_us is None else f", until {time_text(why.cap.resets_us)}"
        return f"cap `{why.cap.name}` is reached: {why.cap.used} of {why.cap.limit} {per}{until}"
    if isinstance(why.by, EarlierScope):
        return f"already proposed by decision `{why.by.decision.name}` in `{why.by.placement.name}`"
    return f"not a member of audience {' or '.join(f'`{audience.text}`' for audience in why.audiences)}"


def _test_sentence(test: FailedTest) -> str:
    result = "must not hold" if test.negated else "fails"
    if test.operator is UNSET:
        return f"`{test.source}` {result}"
    if test.missing:
        return f"`{test.source}` {result}: it is missing"
    value = "a list or an object" if test.value is UNSET else _value_text(test.value)
    return f"`{test.source}` {result}: it is {value}"


@lru_cache(maxsize=1_024, typed=True)
def _value_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def time_text(moment_us: int | None) -> str:
    """Return a time as RFC 3339, without a fraction where it is zero."""
    return "" if moment_us is None else format_timestamp(moment_us).replace(".000000Z", "Z")
