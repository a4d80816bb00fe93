"""Composition root: wires settings, store, services and interfaces into one ASGI app.

The only module that chooses a database implementation.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proffer.api.dps.routes import DpsRoutes
from proffer.api.edge.routes import EdgeRoutes
from proffer.api.ingest.routes import IngestRoutes
from proffer.api.kit import problems
from proffer.api.kit.app import App
from proffer.api.kit.endpoints import Authenticator, Surface, handle_http_exception, request_id_of
from proffer.api.kit.observe import RequestTelemetry, Traces
from proffer.api.kit.security import DevAuthenticator, TokenAuthenticator
from proffer.api.native.changes import ChangeRoutes
from proffer.api.native.datastreams import DatastreamRoutes
from proffer.api.native.demo import DemoRoutes
from proffer.api.native.feedback import FeedbackRoutes
from proffer.api.native.health import OperationsRoutes
from proffer.api.native.propositions import PropositionRoutes
from proffer.api.native.rules import RuleRoutes
from proffer.api.ode.ods import OdsRoutes
from proffer.api.ode.routes import OdeRoutes
from proffer.api.openapi.routes import AnonymousAuthenticator, OpenApiRoutes
from proffer.api.ups.audiences import AudienceRoutes
from proffer.api.ups.descriptors import DescriptorRoutes
from proffer.api.ups.entities import EntityRoutes
from proffer.api.ups.merge_policies import CustomerSettingsRoutes
from proffer.api.ups.routes import UpsRoutes
from proffer.api.xcore.routes import XcoreRoutes
from proffer.config import Settings, spool_folder, sqlite_path
from proffer.errors import NotFound, Unavailable
from proffer.metrics import NO_METRICS, Metrics
from proffer.model.customer import EVENT_LIMITS, EventLimits, ProfileRecord
from proffer.model.datastream import Datastream
from proffer.model.instance import Container
from proffer.service.customers.audience_schedule import AudienceSchedule, DailyTime
from proffer.service.customers.audiences import AudienceService
from proffer.service.customers.estimates import EstimateJobs
from proffer.service.customers.ingest import IngestService
from proffer.service.customers.profiles import ProfileService
from proffer.service.customers.rule_values import CustomerSampling
from proffer.service.customers.trim import trim_identities
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
from proffer.service.library.library import ContainerState
from proffer.service.library.objects import CatalogService
from proffer.service.library.registry import ContainerRegistry
from proffer.service.library.schemas import SchemaService
from proffer.service.monitoring import Monitoring
from proffer.service.rules.stored_fields import StoredFields, sample_pages
from proffer.service.runtime.clock import Clock, wall_clock
from proffer.service.runtime.spool_queue import SpoolQueue
from proffer.service.runtime.tokens import TokenService
from proffer.store.memory.store import MemoryStore
from proffer.store.ports import Store, StoreReader
from proffer.store.spool import FeedbackSpool, Spool
from proffer.store.sql.migrations import migrations_of
from proffer.store.sqlite import migrate as sqlite_schema
from proffer.store.sqlite.reader import SqliteReader
from proffer.store.sqlite.store import SqliteStore
from proffer.store.sqlite.vacuum import vacuum
from proffer.store.transfer.file import BackupSource, BackupTarget
from proffer.store.transfer.sqlite import SqliteSource, SqliteTarget
from proffer.store.transfer.tables import TableSum, TransferSource, TransferTarget
from proffer.store.transfer.transfer import ProgressCallback, transfer
from proffer.telemetry import log_failure

DEV_ORGANISATION = "DEV@AdobeOrg"
DEV_SANDBOX = "prod"
DEV_DATASTREAM = "dev"
DEV_CONTAINER = "e0bd8463-0913-4ca1-bd84-6309134ca1f6"


async def open_store(settings: Settings, *, migrate: bool = True) -> Store:
    """Open the configured database; create it if missing and, with `migrate`, update it."""
    path, write_wait_s = sqlite_path(settings.database), settings.write_wait_ms / 1000
    store: Store
    if path is not None:
        store = await SqliteStore.open(path, migrate=migrate, write_wait_s=write_wait_s)
    else:
        with _needs_driver():
            from proffer.store.postgres.store import PostgresStore
        store = await PostgresStore.open(
            settings.database,
            migrate=migrate,
            connections=settings.database_connections,
            write_wait_s=write_wait_s,
        )
    if migrate:
        try:
            await trim_identities(store, wall_clock)
        except BaseException:
            await store.close()
            raise
    return store


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
    source: Settings, target: Settings, *, resume: bool, on_progress: ProgressCallback
) -> Mapping[str, TableSum]:
    """Copy one database to another, verified; return counts and checksums by table."""
    return await transfer(_source(source), _target(target), resume=resume, on_progress=on_progress)


async def back_up(
    settings: Settings, path: Path, *, now_us: int, on_progress: ProgressCallback
) -> Mapping[str, TableSum]:
    """Write a consistent backup to a file; return counts and checksums by table."""
    return await transfer(_source(settings), BackupTarget(path, now_us), on_progress=on_progress)


async def restore(
    settings: Settings, path: Path, *, resume: bool, on_progress: ProgressCallback
) -> Mapping[str, TableSum]:
    """Restore a backup into an empty database, verified; return counts and checksums by table."""
    return await transfer(BackupSource(path), _target(settings), resume=resume, on_progress=on_progress)


def _source(settings: Settings) -> TransferSource:
    path = sqlite_path(settings.database)
    if path is not None:
        return SqliteSource(path)
    with _needs_driver():
        from proffer.store.transfer.postgres import PostgresSource
    return PostgresSource(settings.database)


def _target(settings: Settings) -> TransferTarget:
    path = sqlite_path(settings.database)
    if path is not None:
        return SqliteTarget(path)
    with _needs_driver():
        from proffer.store.transfer.postgres import PostgresTarget
    return PostgresTarget(settings.database)


async def is_empty(settings: Settings) -> bool:
    """Return whether there is no Proffer database yet. Raises `SchemaMismatch` for another one."""
    dialect = "sqlite" if sqlite_path(settings.database) is not None else "postgres"
    return len(await pending_migrations(settings)) == len(migrations_of(dialect))


async def open_reader(settings: Settings) -> StoreReader:
    """Open the database to read it, also one of an earlier version: it is neither created nor migrated.

    Raises `NotFound` if it is missing or empty.
    """
    if await is_empty(settings):
        raise NotFound("the database is missing or empty: name it with `--database`", code="database-not-found")
    path = sqlite_path(settings.database)
    if path is not None:
        return await SqliteReader.open(path)
    with _needs_driver():
        from proffer.store.postgres.store import PostgresStore
    return await PostgresStore.open_reader(settings.database)


async def read_container(reader: StoreReader, container: Container) -> ContainerState:
    """Return a container with its library; what is written to it is not stored."""
    state = ContainerState(container, MemoryStore(), wall_clock)
    await state.load(*await reader.live(container.id))
    return state


@contextmanager
def _needs_driver() -> Iterator[None]:
    """Raise `Unavailable` if an import fails because the PostgreSQL driver is missing."""
    try:
        yield
    except ImportError as missing:
        raise Unavailable(
            f"PostgreSQL needs {missing.name}: `pip install 'proffer-server[postgres]'`",
            code="needs-asyncpg",
        ) from None


def event_limits(settings: Settings) -> EventLimits:
    """Return the configured age and size limits of stored events."""
    return EventLimits(max_age_us=settings.event_days * 86_400_000_000, max_event_bytes=settings.event_bytes)


def log_limits(settings: Settings) -> LogLimits:
    """Return the configured retention limits of decisions and feedback."""
    return LogLimits(days=settings.event_log_days, bytes=settings.event_log_bytes or None)


async def copy_in_memory(settings: Settings, organisation: str, sandbox: str) -> Store:
    """Return an in-memory copy of one sandbox; changes to it are not stored.

    It has all revisions of the library, and a sample of the profiles, against whose fields rules are checked.

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
                await copy.apply_changes(
                    container.id,
                    [
                        ProfileRecord(
                            identities=customer.identities,
                            dataset="copy",
                            stamped_us=customer.modified_us,
                            attributes=customer.attributes,
                        )
                        async for page in sample_pages(store, container.id)
                        for customer in page
                    ],
                    now_us=wall_clock(),
                )
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
        metrics: Metrics = NO_METRICS,
        retention_limits: LogLimits = LOG_LIMITS,
        spool: Spool | None = None,
        feedback_spool: FeedbackSpool | None = None,
        *,
        allows_unrecorded: bool = False,
        write_wait_s: float | None = None,
        audience_time: DailyTime | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.registry = ContainerRegistry(store, clock)
        self.registry.database_status.write_wait_s = write_wait_s
        self.stored_fields = StoredFields(store)
        self.catalog = CatalogService(self.stored_fields)
        self.changes = ChangeService(self.catalog)
        self.decide = DecideService(self.registry, clock, store, metrics, spool, allows_unrecorded=allows_unrecorded)
        self.profiles = ProfileService(store, self.registry, clock, limits)
        self.audiences = AudienceService(store, self.catalog, clock, limits)
        self.customer_sampling = CustomerSampling(store, clock)
        self.estimates = EstimateJobs(self.audiences)
        self.audience_schedule = AudienceSchedule(store, self.registry, self.audiences, clock, audience_time)
        self.feedback = FeedbackService(store, self.registry, clock, metrics, feedback_spool)
        self.reservations = ReservationService(store, clock)
        self.replay = ReplayService(store, self.profiles, clock)
        self.event_export = EventExport(store)
        self.retention = Retention(store, clock, retention_limits)
        self.imports = ImportService(store, clock, self.feedback, limits)
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
        self.tokens = TokenService(store, clock)
        self.schemas = SchemaService(self.catalog)

    async def start(self, *, dev: bool) -> None:
        """Load the libraries. In dev mode the developer's container is created if missing."""
        if dev:
            container = await self.tokens.container(
                DEV_ORGANISATION, DEV_SANDBOX, by="dev@AdobeID", new_id=DEV_CONTAINER
            )
            self.datastreams.add_built_in(Datastream(id=DEV_DATASTREAM, name="Development", explain=True), container.id)
        await self.registry.start()

    async def stop(self) -> None:
        """Stop all services, finish queued writes, then close the store."""
        await self.retention.stop()
        await self.feedback.stop()
        await self.estimates.stop()
        await self.audience_schedule.stop()
        await self.registry.stop()
        await self.decide.spool_replayer.close()
        await self.feedback.close()
        await self.store.close()

    def spool_queues(self) -> Sequence[SpoolQueue[Any]]:
        """Return the queues of decisions and of feedback, where there is a spool."""
        queues = (self.decide.spool_replayer.queue, self.feedback.spool_queue)
        return [queue for queue in queues if queue is not None]

    def surfaces(self, *, dev: bool) -> list[Surface]:
        return [  # of several routes that match a path, the first counts
            OdeRoutes(self.decide, self.profiles, self.registry).surface(),
            OdsRoutes(self.decide, self.profiles, self.registry).surface(),
            IngestRoutes(self.ingest, self.registry, self.clock, dev=dev).surface(),
            XcoreRoutes(self.catalog, self.registry, self.clock).surface(),
            DpsRoutes(self.catalog, self.registry).surface(),
            RuleRoutes(self.registry, self.stored_fields, self.customer_sampling).surface(),
            FeedbackRoutes(self.feedback, self.reservations, self.registry, self.clock).surface(),
            PropositionRoutes(self.event_export, self.replay, self.registry).surface(),
            ChangeRoutes(self.changes, self.registry).surface(),
            DatastreamRoutes(self.datastreams, self.decide, self.registry).surface(),
            UpsRoutes(
                EntityRoutes(self.profiles, self.registry).endpoints(),
                AudienceRoutes(self.audiences, self.estimates, self.registry).endpoints(),
                CustomerSettingsRoutes(self.catalog, self.registry).endpoints(),
            ).surface(),
            DescriptorRoutes(self.catalog, self.registry).surface(),
        ]

    def authenticator(self, *, dev: bool) -> Authenticator:
        return DevAuthenticator(DEV_ORGANISATION) if dev else TokenAuthenticator(self.tokens)


def asgi(services: Services, *, dev: bool, monitoring: Monitoring | None = None, metrics_token: str = "") -> App:
    """Return the app over services that the caller has started."""
    return App(
        routes=app_routes(services, dev=dev, monitoring=monitoring or Monitoring(), metrics_token=metrics_token),
        exception_handlers={HTTPException: handle_http_exception, Exception: _unexpected},
        error_handler=_unexpected,
    )


def app_routes(services: Services, *, dev: bool, monitoring: Monitoring, metrics_token: str) -> list[Route]:
    """Return the routes of all interfaces."""
    authenticator = services.authenticator(dev=dev)
    routes = [route for surface in services.surfaces(dev=dev) for route in surface.routes(authenticator)]
    if dev:
        demo = DemoRoutes(services.decide, services.registry, DEV_DATASTREAM, services.clock)
        routes += demo.surface().routes(authenticator)
    routes += EdgeRoutes(services.edge, services.datastreams, authenticator).routes()
    routes += OpenApiRoutes().surface().routes(AnonymousAuthenticator())
    operations = OperationsRoutes(monitoring.health, monitoring.read_metrics, metrics_token)
    routes += operations.surface().routes(AnonymousAuthenticator())
    return routes


def create_app(
    settings: Settings,
    *,
    store_opener: Callable[[Settings], Awaitable[Store]] = open_store,
    clock: Clock = wall_clock,
    monitoring: Monitoring | None = None,
    traces: Traces | None = None,
) -> App:
    """Return the server as one ASGI app. It opens its store at startup and closes it at shutdown."""
    monitoring = monitoring or Monitoring(metrics_enabled=settings.metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        spool_options = (spool_folder(settings), settings.spool_bytes)
        services = Services(
            await store_opener(settings),
            clock,
            event_limits(settings),
            monitoring.metrics,
            log_limits(settings),
            Spool(*spool_options) if settings.spool_bytes else None,
            FeedbackSpool(*spool_options) if settings.spool_bytes else None,
            allows_unrecorded=settings.unrecorded == "allow",
            write_wait_s=settings.write_wait_ms / 1000,
            audience_time=DailyTime.parse(settings.audience_time),
        )
        monitoring.health.add_degradation_check("database", services.registry.database_status.reason)
        monitoring.health.add_readiness_check("database", services.registry.database_status.unready_reason)
        monitoring.health.add_readiness_check("spool", services.decide.spool_replayer.unready_reason)
        for queue in services.spool_queues():
            monitoring.health.add_degradation_check(f"spooled-{queue.content}", queue.reason)
        try:
            await services.start(dev=settings.dev)
            services.retention.start()
            services.audience_schedule.start()
            services.feedback.start()
            monitoring.register_gauges(services.registry, services.store, clock, services.spool_queues())
            routes = app_routes(services, dev=settings.dev, monitoring=monitoring, metrics_token=settings.metrics_token)
            app.set_routes(routes)
            monitoring.health.started = True
            yield
        finally:
            await services.stop()

    app = App(
        lifespan=lifespan,
        exception_handlers={HTTPException: handle_http_exception, Exception: _unexpected},
        error_handler=_unexpected,
    )
    access_log = settings.access_log and settings.log_format == "json"  # uvicorn writes the rest
    if monitoring.metrics.enabled or access_log or traces is not None:
        app.observer = RequestTelemetry(monitoring.metrics, access_log=access_log, traces=traces)
    app.router.redirect_slashes = False  # unknown paths get our own 404 document
    return app


async def _unexpected(request: Request, error: Exception) -> Response:
    """Respond to an internal error: details go to the log, not to the client."""
    request_id = request_id_of(request)
    log_failure(f"request {request_id} failed", error, request_id=request_id)
    document = problems.problem(
        500,
        "internal",
        "internal error; the server's log gives the reason under this request id",
        requestId=request_id,
    )
    return problems.problem_response(document)
