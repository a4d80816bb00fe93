"""Streaming ingestion: single messages and batches of them, for profile records and experience events."""

from starlette.responses import Response

from proffer.api.ingest import translate
from proffer.api.kit.permissions import needing
from proffer.api.kit.surface import Call, Endpoint, Surface
from proffer.auth.principal import Permission
from proffer.errors import Invalid, Kind, ProfferError
from proffer.service.customers.ingest import Checked, IngestService
from proffer.service.library.library import Library
from proffer.service.library.registry import Libraries
from proffer.service.runtime.clock import Clock
from proffer.wire.codec import decode, encode

PREFIX = "/collection"
_DEV_INLET = "dev"
_SWITCHES = ("syncValidation", "synchronousValidation")


class IngestSurface:
    """The handlers, over the ingest service. An inlet is a container's id; in dev mode also `dev`."""

    def __init__(
        self, service: IngestService, libraries: Libraries, clock: Clock, *, dev: bool
    ) -> None:
        self._service = service
        self._libraries = libraries
        self._clock = clock
        self._dev = dev

    def surface(self) -> Surface:
        """The URL table. Here a message that is wrong is a 400, as it is in the original."""
        return Surface(
            name="ingest",
            prefix=PREFIX,
            endpoints=[
                Endpoint(
                    method="POST",
                    path="/batch/{inlet}",
                    handler=needing(Permission.PROFILES_WRITE, self.batch),
                ),
                Endpoint(
                    method="POST",
                    path="/{inlet}",
                    handler=needing(Permission.PROFILES_WRITE, self.single),
                ),
            ],
            statuses={Kind.INVALID: 400},
        )

    async def single(self, call: Call) -> Response:
        """POST /{inlet}: one message, durable once this answers."""
        switches = [name for name in _SWITCHES if call.flag(name)]
        inlet, library = self._inlet(call)
        message = self._checked(decode(await call.body()), library)
        (refusal,) = await self._service.take_in(call.principal, library.container.id, [message])
        if refusal is not None and refusal is message:
            raise _worded(refusal, inlet, library)
        if refusal is not None:
            raise _worded(translate.under_entity(refusal), inlet, library)
        received = self._clock() // 1000
        answer: dict[str, object] = {
            "inletId": inlet,
            "xactionId": translate.transaction(received),
            "receivedTimeMs": received,
        }
        answer.update((name, {"status": "pass"}) for name in switches)
        return Response(encode(answer), media_type="application/json")

    async def batch(self, call: Call) -> Response:
        """POST /batch/{inlet}: each message on its own, all that are good durable once this answers."""
        inlet, library = self._inlet(call)
        messages = translate.to_batch(decode(await call.body()))
        checked = [self._checked(value, library) for value in messages]
        refusals = await self._service.take_in(call.principal, library.container.id, checked)
        received = self._clock() // 1000
        transaction = translate.transaction(received)
        responses = []
        for at, (refusal, sent) in enumerate(zip(refusals, checked, strict=True)):
            if refusal is None:
                responses.append({"xactionId": f"{transaction}:{at}"})
            else:
                own = refusal if refusal is sent else translate.under_entity(refusal)
                responses.append(translate.failed(own, inlet, library.container.organisation, at))
        answer = {
            "inletId": inlet,
            "batchId": transaction,
            "receivedTimeMs": received,
            "responses": responses,
        }
        return Response(encode(answer), 207, media_type="application/json")

    def _inlet(self, call: Call) -> tuple[str, Library]:
        inlet = str(call.request.path_params["inlet"])
        if self._dev and inlet == _DEV_INLET:
            sandbox = call.request.headers.get("x-sandbox-name")
            return inlet, self._libraries.of_sandbox(call.principal, sandbox)
        return inlet, self._libraries.find(call.principal, inlet)

    def _checked(self, value: object, library: Library) -> Checked:
        organisation = None if self._dev else library.container.organisation
        try:
            return translate.to_message(value, organisation)
        except ProfferError as refusal:
            return refusal


def _worded(error: ProfferError, inlet: str, library: Library) -> ProfferError:
    """The refusal with the message that clients of the original look for."""
    if isinstance(error, Invalid):
        words = translate.sentence(error, inlet, library.container.organisation)
        error.extra["report"] = {"message": words}
    return error
