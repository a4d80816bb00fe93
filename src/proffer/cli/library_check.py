"""`proffer library check`: what is wrong in a stored library, and what an upgrade changes for its customers."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from proffer.app import open_reader, read_container
from proffer.cli.customers import progress_bar
from proffer.cli.database import Database
from proffer.config import load_settings
from proffer.errors import NotFound
from proffer.service.customers.rule_values import ObservedRule, RuleFinding, describe, live_rules, observe_customers
from proffer.service.library.library import ContainerState
from proffer.service.library.problems import library_problems
from proffer.service.rules.stored_fields import StoredFields
from proffer.service.runtime.clock import wall_clock
from proffer.store.ports import StoreReader


def check(
    upgrade: Annotated[
        bool,
        typer.Option("--upgrade", help="List the live rules that may mean something else since the update."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    database: Database = None,
    org: Annotated[str | None, typer.Option(help="The organisation.", show_default="all")] = None,
    sandbox: Annotated[str | None, typer.Option(help="The sandbox.", show_default="all")] = None,
) -> None:
    """Check the stored libraries, read only, also of a database of an earlier version."""
    config = load_settings({"database": database})

    async def run() -> int:
        reader = await open_reader(config)
        try:
            code = 0
            async for state in stored_containers(reader, org, sandbox):
                typer.echo(f"{state.container.organisation}, sandbox `{state.container.sandbox}`:")
                code |= await (_check_upgrade if upgrade else _check_library)(reader, state, strict=strict)
            return code
        finally:
            await reader.close()

    if code := asyncio.run(run()):
        raise typer.Exit(code)


async def stored_containers(reader: StoreReader, org: str | None, sandbox: str | None) -> AsyncIterator[ContainerState]:
    """Yield the containers of an organisation and sandbox; None: of all. Raises `NotFound` if there are none."""
    containers = [
        container
        for container in await reader.containers()
        if org in (None, container.organisation) and sandbox in (None, container.sandbox)
    ]
    if not containers:
        sandbox_name, owner = f" `{sandbox}`" if sandbox else "", f" of `{org}`" if org else ""
        raise NotFound(f"there is no sandbox{sandbox_name}{owner} in the database", code="container-not-found")
    for container in containers:
        yield await read_container(reader, container)


async def _check_upgrade(reader: StoreReader, state: ContainerState, *, strict: bool) -> int:
    rules = live_rules(state)
    total, findings = await observe_with_progress(reader, state, rules)
    for finding in findings:
        typer.echo(f"{finding.label}: {describe(finding)}")
    affected = len({finding.label for finding in findings})
    typer.echo(f"{len(rules):,} live rules evaluated for {total:,} customers, {affected:,} to look at")
    return int(strict and bool(findings))


async def observe_with_progress(
    reader: StoreReader, state: ContainerState, rules: Sequence[ObservedRule]
) -> tuple[int, list[RuleFinding]]:
    """Evaluate rules for all customers, with a progress bar; return the number of customers, and findings."""
    total, _, _ = await reader.customer_count(state.container.id)
    with progress_bar() as bar:
        progress_task, started_at, done = bar.add_task("evaluating", total=total, note=""), time.monotonic(), 0

        def on_progress(increment: int) -> None:
            nonlocal done
            done = min(done + increment, total)
            rate = done / max(time.monotonic() - started_at, 1e-9)
            bar.update(progress_task, completed=done, note=f"{done:,} profiles, {rate:,.0f}/s")

        return total, await observe_customers(reader, state, rules, wall_clock(), on_progress=on_progress)


async def _check_library(reader: StoreReader, state: ContainerState, *, strict: bool) -> int:
    observed = await StoredFields(reader).of(state.container.id)
    counts = {True: 0, False: 0}
    for problem in library_problems(state, observed):
        counts[problem.is_error] += 1
        violation = problem.violation
        place = f", {violation.path}" if violation.path else ""
        place += f", line {violation.line}, column {violation.column}" if violation.line is not None else ""
        remedy = f"; {violation.help}" if violation.help else ""
        severity = "error" if problem.is_error else "warning"
        typer.echo(f"{severity}: {problem.label}{place}: {violation.message}{remedy}")
    typer.echo(f"{len(state.catalog):,} objects checked, {counts[True]:,} errors, {counts[False]:,} warnings")
    return int(bool(counts[True]) or (strict and bool(counts[False])))
