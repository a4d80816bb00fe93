"""Diagnostics of a container's live decisions."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proffer.engine.snapshot import SnapshotDiagnostic
from proffer.model.documents import PLACES, SHAPES
from proffer.model.ids import KIND_LABELS, EntityKind
from proffer.service.library.check_content import content_violations
from proffer.service.library.library import ContainerState
from proffer.validation import misspelt_members

_OBJECTS_PER_SLICE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Time the current snapshot was published (None: never), and diagnostics of live decisions."""

    published_us: int | None
    diagnostics: Sequence[SnapshotDiagnostic]


async def diagnose(state: ContainerState) -> Diagnosis:
    """Return the diagnostics of a container's live decisions."""
    if not state.catalog.revision:
        return Diagnosis(published_us=None, diagnostics=())
    publisher = state.publisher
    return Diagnosis(
        published_us=publisher.published_us,
        diagnostics=(
            *publisher.snapshot.diagnostics,
            *_fault_diagnostics(state),
            *await _document_diagnostics(state),
        ),
    )


_FALLBACK_FAULT = "its default was used, or it was returned as it stands, or without content"


def _fault_diagnostics(state: ContainerState) -> Iterator[SnapshotDiagnostic]:
    """Yield a diagnostic per formula and offer that failed (R18, R23). All failures since the start count."""
    for fault_counts, message, consequence in (
        (
            state.formula_faults,
            "Ranking formula `{}` returned no number",
            "the offer's priority was used instead",
        ),
        (
            state.content_faults,
            "The content of offer `{}` could not be rendered",
            "its default or the next best offer was used instead",
        ),
        (
            state.threshold_faults,
            "The threshold of a limit of offer `{}` gave no whole number of at least 0",
            "the offer was not given",
        ),
    ):
        for entity_id, count in sorted(fault_counts.items()):
            instance = state.catalog.by_id(entity_id)
            if instance is not None:
                is_fallback = fault_counts is state.content_faults and instance.kind is EntityKind.FALLBACK
                times = "once" if count == 1 else f"{count:,} times"
                effect = _FALLBACK_FAULT if is_fallback else consequence
                yield SnapshotDiagnostic(
                    description=f"{message.format(instance.name)} {times}; {effect}",
                    id=instance.id,
                    instance_id=instance.instance_id,
                    etag=instance.etag,
                )


async def _document_diagnostics(state: ContainerState) -> list[SnapshotDiagnostic]:
    """Return a diagnostic per misspelt member and per mistake in the content of live objects."""
    snapshot = state.publisher.snapshot
    ids: set[str] = set()
    for playable in snapshot.decisions.values():
        ids.add(playable.decision.id)
        for scope in playable.scopes.values():
            ids.add(scope.fallback.id)
            ids.update(
                candidate.bound_offer.offer.id
                for group in scope.groups
                for criterion in group
                for candidate in criterion.candidates
            )
    diagnostics: list[SnapshotDiagnostic] = []
    for number, entity_id in enumerate(sorted(ids)):
        if number % _OBJECTS_PER_SLICE == 0:
            await asyncio.sleep(0)
        instance = state.catalog.by_id(entity_id)
        if instance is not None:
            subject = f"{KIND_LABELS[instance.kind]} `{instance.name}`"
            diagnostics += [
                SnapshotDiagnostic(
                    description=f"{subject}, {violation.path}: {violation.message}; {violation.help}",
                    id=instance.id,
                    instance_id=instance.instance_id,
                    etag=instance.etag,
                )
                for violation in (
                    *misspelt_members(SHAPES[instance.kind], instance.document, PLACES.get(instance.kind, {})),
                    *content_violations(instance),
                )
            ]
    return diagnostics
