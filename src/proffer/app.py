"""Composition root: wires settings, store, services and interfaces into one ASGI app.

The only module that chooses a database implementation.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from proffer.api.dps.routes import DpsSurface
from proffer.api.edge.routes import EdgeSurface
from proffer.api.ingest.routes import IngestSurface
from proffer.api.kit import problems
from proffer.api.kit.app import App
from proffer.api.kit.observe import RequestWatcher, Traces
from proffer.api.kit.security import DevAuthenticator, TokenAuthenticator
from proffer.api.kit.surface import Authenticator, Surface, http_exception, request_id_of
from proffer.api.native.changes import ChangesSurface
from proffer.api.native.datastreams import DatastreamsSurface
from proffer.api.native.demo import DemoSurface
from proffer.api.native.feedback import FeedbackSurface
from proffer.api.native.operations import OperationsSurface
from proffer.api.native.propositions import RecordSurface
from proffer.api.native.rules import RulesSurface
from proffer.api.ode.ods import OdsSurface
from proffer.api.ode.routes import OdeSurface
from proffer.api.openapi.routes import AnonymousAuthenticator, OwnSurface
from proffer.api.ups.audiences import Audiences
from proffer.api.ups.descriptors import Descriptors
from proffer.api.ups.entities import Entities
from proffer.api.ups.routes import UpsSurface
from proffer.api.ups.rules import CustomerSettings
from proffer.api.xcore.routes import XcoreSurface
from proffer.config import Settings, spool_folder, sqlite_path
from proffer.errors import Unavailable
from proffer.metrics import NO_METERS, Meters
from proffer.model.customer import EVENT_LIMITS, EventLimits
from proffer.model.datastream import Datastream
from proffer.service.customers.audiences import AudienceService
from proffer.service.customers.estimates import Estimates
from proffer.service.customers.ingest import IngestService
from proffer.service.customers.profiles import ProfileService
from proffer.service.decisions.decide import DecideService
from proffer.service.decisions.replay import ReplayService
from proffer.service.decisions.reservations import ReservationService
from proffer.service.edge.datastreams import DatastreamService
from proffer.service.edge.edge import EdgeService
from proffer.service.event_log.export import EventExport
from proffer.service.event_log.feedback import FeedbackService
from proffer.service.event_log.retention import LOG_LIMITS, LogLimits, Retention
from proffer.service.imports.run import ImportService
from proffer.service.library.changes import ChangeService
from proffer.service.library.objects import CatalogService
from proffer.service.library.registry import ContainerRegistry
from proffer.service.library.schemas import SchemaService
from proffer.service.monitoring import Sight
from proffer.service.runtime.clock import Clock, wall_clock
from proffer.service.runtime.tokens import Access
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store
from proffer.store.spool import FeedbackSpool, Spool
from proffer.store.sql.migrations import migrations_of
from proffer.store.sqlite import migrate as sqlite_schema
from proffer.store.sqlite.store import SqliteStore
from proffer.store.sqlite.vacuum import vacuum
from proffer.store.transfer.file import BackupSource, BackupTarget
from proffer.store.transfer.sqlite import SqliteSource, SqliteTarget
from proffer.store.transfer.tables import Source, Sum, Target
from proffer.store.transfer.transfer import Told, move
from proffer.telemetry import failure

DEV_ORGANISATION = "DEV@AdobeOrg"
DEV_SANDBOX = "prod"
DEV_DATASTREAM = "dev"
DEV_CONTAINER = "e0bd8463-0913-4ca1-bd84-6309134ca1f6"


async def open_store(settings: Settings, *, migrate: bool = True) -> Store:
    """Open the configured database; create it if missing and, with `migrate`, update it."""
    path = sqlite_path(settings.database)
    if path is not None:
        return await SqliteStore.open(path, migrate=migrate)
    with _needs_driver():
        from proffer.store.postgres.store import PostgresStore
    return await PostgresStore.open(
        settings.database, migrate=migrate, connections=settings.database_connections
    )


async def vacuum_store(settings: Settings) -> tuple[int, int]:
    """Rewrite the database without free space; return its size before and after, in bytes."""
    path = sqlite_path(settings.database)
    if path is not None:
        return await asyncio.to_thread(vacuum, path)
    with _needs_driver():
        from proffer.store.postgres import vacuum as postgres
    return await postgres.vacuum(settings.database)


async def pending_migrations(settings: Settings) -> Sequence[str]:
    """Return the names of the pending migrations; all of them if the database is missing or empty."""
    path = sqlite_path(settings.database)
    if path is not None:
        return await asyncio.to_thread(sqlite_schema.pending_migrations, path)
    with _needs_driver():
        from proffer.store.postgres import migrate as postgres
    return await postgres.pending_migrations(settings.database)


async def migrate_store(settings: Settings) -> Sequence[str]:
    """Migrate the database, created if missing; return the names of the applied migrations."""
    path = sqlite_path(settings.database)
    if path is not None:
        return await asyncio.to_thread(sqlite_schema.migrate, path)
    with _needs_driver():
        from proffer.store.postgres import migrate as postgres
    return await postgres.migrate(settings.database)


async def move_store(
    source: Settings, target: Settings, *, resume: bool, told: Told
) -> Mapping[str, Sum]:
    """Copy one database to another, verified; return counts and checksums by table."""
    return await move(_source(source), _target(target), resume=resume, told=told)


async def back_up(settings: Settings, path: Path, *, now_us: int, told: Told) -> Mapping[str, Sum]:
    """Write a consistent backup to a file; return counts and checksums by table."""
    return await move(_source(settings), BackupTarget(path, now_us), told=told)


async def restore(settings: Settings, path: Path, *, resume: bool, told: Told) -> Mapping[str, Sum]:
    """Restore a backup into an empty database, verified; return counts and checksums by table."""
    return await move(BackupSource(path), _target(settings), resume=resume, told=told)


def _source(settings: Settings) -> Source:
    path = sqlite_path(settings.database)
    if path is not None:
        return SqliteSource(path)
    with _needs_driver():
        from proffer.store.transfer.postgres import PostgresSource
    return PostgresSource(settings.database)


def _target(settings: Settings) -> Target:
    path = sqlite_path(settings.database)
    if path is not None:
        return SqliteTarget(path)
    with _needs_driver():
        from proffer.store.transfer.postgres import PostgresTarget
    return PostgresTarget(settings.database)


async def is_empty(settings: Settings) -> bool:
    """Return whether there is no Proffer database yet. Raises `SchemaMismatch` for another one."""
    known = "sqlite" if sqlite_path(settings.database) is not None else "postgres"
    return len(await pending_migrations(settings)) == len(migrations_of(known))


@contextmanager
def _needs_driver() -> Iterator[None]:
    """Raise `Unavailable` if an import fails because the PostgreSQL driver is not installed."""
    try:
        yield
    except ImportError as missing:
        raise Unavailable(
            f"PostgreSQL needs {missing.name}: `pip install 'proffer-server[postgres]'`",
            code="needs-asyncpg",
        ) from None


def event_limits(settings: Settings) -> EventLimits:
    """Return the configured age and size limits of stored events."""
    return EventLimits(age_us=settings.event_days * 86_400_000_000, bytes_each=settings.event_bytes)


def log_limits(settings: Settings) -> LogLimits:
    """Return the configured retention limits of decisions and feedback."""
    return LogLimits(days=settings.event_log_days, bytes=settings.event_log_bytes or None)


async def copy_in_memory(settings: Settings, organisation: str, sandbox: str) -> Store:
    """Return an in-memory copy of one sandbox with all revisions; changes to it are not stored.

    The database is neither created nor migrated.
    """
    copy = MemoryStore()
    if await is_empty(settings):
        return copy
    store = await open_store(settings, migrate=False)
    try:
        for container in await store.containers():
            await copy.ensure_container(replace(container, revision=0))
            if (container.organisation, container.sandbox) == (organisation, sandbox):
                versions = await store.since(container.id, 0)
                if versions:
                    await copy.commit(container.id, 0, versions)
    finally:
        await store.close()
    return copy


class Services:
    """All services over one store."""

    def __init__(
        self,
        store: Store,
        clock: Clock = wall_clock,
        limits: EventLimits = EVENT_LIMITS,
        meters: Meters = NO_METERS,
        log: LogLimits = LOG_LIMITS,
        spool: Spool | None = None,
        feedback_spool: FeedbackSpool | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.registry = ContainerRegistry(store, clock)
        self.catalog = CatalogService()
        self.changes = ChangeService(self.catalog)
        self.decide = DecideService(self.registry, clock, store, meters, spool)
        self.profiles = ProfileService(store, self.registry, clock, limits)
        self.audiences = AudienceService(store, self.catalog, clock, limits)
        self.estimates = Estimates(self.audiences)
        self.feedback = FeedbackService(store, self.registry, clock, meters, feedback_spool)
        self.reservations = ReservationService(store, clock)
        self.replay = ReplayService(store, self.profiles, clock)
        self.event_export = EventExport(store)
        self.retention = Retention(store, clock, log)
        self.importing = ImportService(store, clock, self.feedback, limits)
        self.ingest = IngestService(store, clock, self.feedback, limits)
        self.datastreams = DatastreamService(self.catalog, self.registry)
        self.edge = EdgeService(
            store,
            self.registry,
            self.decide,
            self.profiles,
            self.ingest,
            self.feedback,
            clock,
            limits,
        )
        self.access = Access(store, clock)
        self.schemas = SchemaService(self.catalog)

    async def start(self, *, dev: bool) -> None:
        """Load the libraries. In dev mode the developer's container is created if missing."""
        if dev:
            container = await self.access.container(
                DEV_ORGANISATION, DEV_SANDBOX, by="dev@AdobeID", fresh_id=DEV_CONTAINER
            )
            self.datastreams.build_in(
                Datastream(id=DEV_DATASTREAM, name="Development", explain=True), container.id
            )
        await self.registry.start()

    async def stop(self) -> None:
        """Stop all services, finish queued writes, then close the store."""
        await self.retention.stop()
        await self.feedback.stop()
        await self.estimates.stop()
        await self.registry.stop()
        await self.decide.backlog.close()
        await self.feedback.close()
        await self.store.close()

    def surfaces(self, *, dev: bool) -> list[Surface]:
        return [  # routes are tried in order, so the most used come first
            OdeSurface(self.decide, self.profiles, self.registry).surface(),
            OdsSurface(self.decide, self.profiles, self.registry).surface(),
            IngestSurface(self.ingest, self.registry, self.clock, dev=dev).surface(),
            XcoreSurface(self.catalog, self.registry, self.clock).surface(),
            DpsSurface(self.catalog, self.registry).surface(),
            RulesSurface(self.registry).surface(),
            FeedbackSurface(self.feedback, self.reservations, self.registry, self.clock).surface(),
            RecordSurface(self.event_export, self.replay, self.registry).surface(),
            ChangesSurface(self.changes, self.registry).surface(),
            DatastreamsSurface(self.datastreams, self.decide, self.registry).surface(),
            UpsSurface(
                Entities(self.profiles, self.registry).endpoints(),
                Audiences(self.audiences, self.estimates, self.registry).endpoints(),
                CustomerSettings(self.catalog, self.registry).endpoints(),
            ).surface(),
            Descriptors(self.catalog, self.registry).surface(),
        ]

    def authenticator(self, *, dev: bool) -> Authenticator:
        return DevAuthenticator(DEV_ORGANISATION) if dev else TokenAuthenticator(self.access)


def asgi(
    services: Services, *, dev: bool, sight: Sight | None = None, metrics_token: str = ""
) -> App:
    """Return the app over services that the caller has started."""
    sight = sight or Sight()
    authenticator = services.authenticator(dev=dev)
    routes = [
        route for surface in services.surfaces(dev=dev) for route in surface.routes(authenticator)
    ]
    if dev:
        demo = DemoSurface(services.decide, services.registry, DEV_DATASTREAM, services.clock)
        routes += demo.surface().routes(authenticator)
    routes += EdgeSurface(services.edge, services.datastreams, authenticator).routes()
    routes += OwnSurface().surface().routes(AnonymousAuthenticator())
    operations = OperationsSurface(sight.health, sight.reading, metrics_token)
    routes += operations.surface().routes(AnonymousAuthenticator())
    return App(
        routes=routes,
        exception_handlers={HTTPException: http_exception, Exception: _unexpected},
        unexpected=_unexpected,
    )


def create_app(
    settings: Settings,
    *,
    opening: Callable[[Settings], Awaitable[Store]] = open_store,
    clock: Clock = wall_clock,
    sight: Sight | None = None,
    traces: Traces | None = None,
) -> App:
    """Return the server as one ASGI app that opens its store at startup and closes it at shutdown."""
    sight = sight or Sight(counting=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        waiting = (spool_folder(settings), settings.spool_bytes)
        services = Services(
            await opening(settings),
            clock,
            event_limits(settings),
            sight.meters,
            log_limits(settings),
            Spool(*waiting) if settings.spool_bytes else None,
            FeedbackSpool(*waiting) if settings.spool_bytes else None,
        )
        sight.health.should("database", services.registry.standing.reason)
        try:
            await services.start(dev=settings.dev)
            services.retention.start()
            services.feedback.start()
            sight.watch(services.registry, services.store, clock)
            inner = asgi(
                services, dev=settings.dev, sight=sight, metrics_token=settings.metrics_token
            )
            app.take_routes(inner.router.routes)
            sight.health.started = True
            yield
        finally:
            await services.stop()

    app = App(
        lifespan=lifespan,
        exception_handlers={HTTPException: http_exception, Exception: _unexpected},
        unexpected=_unexpected,
    )
    access_log = settings.access_log and settings.log_format == "json"  # uvicorn writes the rest
    if sight.meters.on or access_log or traces is not None:
        app.watcher = RequestWatcher(sight.meters, access_log=access_log, traces=traces)
    app.router.redirect_slashes = False  # unknown paths get our own 404 document
    return app


async def _unexpected(request: Request, error: Exception) -> Response:
    """Respond to an internal error: details go to the log, not to the client."""
    request_id = request_id_of(request)
    failure(f"request {request_id} failed", error, request_id=request_id)
    document = problems.problem(
        500,
        "internal",
        "this should not have happened; the log of the server has the reason under this request id",
        requestId=request_id,
    )
    return problems.respond(document)
