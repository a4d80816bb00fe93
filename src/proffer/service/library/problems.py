"""Problems of the stored objects of a container: what a check of the whole library reports."""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from proffer.engine.snapshot import SnapshotDiagnostic
from proffer.errors import Violation
from proffer.model.documents import SHAPES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.pql.check.types import Type
from proffer.service.library.check_content import content_violations
from proffer.service.library.library import ContainerState
from proffer.service.rules.check import broken_expressions, check_expressions
from proffer.service.rules.schema_changes import rule_label
from proffer.validation import misspelt_members


@dataclass(frozen=True, slots=True)
class LibraryProblem:
    """A problem of an object. `is_error`: a rule counts as false, content is not delivered, a reference is missing.

    Otherwise it is a warning. `label`: the object's kind and name.
    """

    label: str
    violation: Violation
    is_error: bool


def library_problems(state: ContainerState, observed: Type) -> Iterator[LibraryProblem]:
    """Yield the problems of every object, then of live decisions. `observed`: the fields of the stored profiles."""
    broken: set[str] = set()
    for kind in EntityKind:
        for instance in state.catalog.of_kind(kind).values():
            for problem in _object_problems(state, instance, observed):
                if problem.is_error:
                    broken.add(instance.id)
                yield problem
    for diagnostic in state.publisher.snapshot.diagnostics:
        decision = state.catalog.by_id(diagnostic.id or "")
        label = f"live {rule_label(decision)}" if decision is not None else "live decision"
        for cause in dict.fromkeys(_causes(diagnostic, broken)):
            yield LibraryProblem(label, Violation(code="unknown-reference", message=cause), is_error=True)


def _object_problems(state: ContainerState, instance: Instance, observed: Type) -> Iterator[LibraryProblem]:
    label = rule_label(instance)
    errors = [*broken_expressions(instance, state.catalog), *content_violations(instance)]
    findings = check_expressions(instance, state.catalog, observed=observed)
    refusals = [error for error in findings.errors if error not in errors]
    warnings = [*refusals, *findings.warnings, *misspelt_members(SHAPES[instance.kind], instance.document)]
    yield from (LibraryProblem(label, error, is_error=True) for error in errors)
    yield from (LibraryProblem(label, warning, is_error=False) for warning in warnings)


def _causes(diagnostic: SnapshotDiagnostic, broken: Container[str]) -> Iterator[str]:
    """Yield the descriptions of the innermost causes, but for those of broken objects."""
    for cause in diagnostic.causes:
        if cause.id is None or cause.id not in broken:
            yield from _causes(cause, broken)
    if not diagnostic.causes:
        yield diagnostic.description
