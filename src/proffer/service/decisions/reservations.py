"""What a decision reserved for a time: to keep it, to give it back, or to see how it stands (R22)."""

from proffer.auth.policy import require
from proffer.auth.principal import Permission, Principal
from proffer.errors import NotFound
from proffer.model.capping import Reservation
from proffer.model.events import moment_ms
from proffer.service.library.registry import Libraries
from proffer.service.runtime.clock import Clock
from proffer.store.ports import CapStore


class ReservationService:
    """The use cases. Whoever may ask for decisions may settle what they reserved."""

    def __init__(self, store: CapStore, libraries: Libraries, clock: Clock) -> None:
        self._store = store
        self._libraries = libraries
        self._clock = clock

    async def confirm(self, by: Principal, container: str, proposition: str) -> Reservation:
        """Keep it: it counts for good. Raises `NotFound`, or `Conflict` where it was given back."""
        library, decision = await self._decision(by, container, proposition)
        return await self._store.confirm(library, decision, self._clock())

    async def release(self, by: Principal, container: str, proposition: str) -> Reservation:
        """Give it back to the caps. Raises `NotFound`, or `Conflict` where it was confirmed."""
        library, decision = await self._decision(by, container, proposition)
        return await self._store.release(library, decision, self._clock())

    async def state(self, by: Principal, container: str, proposition: str) -> Reservation:
        """How it stands now. Raises `NotFound` where the decision reserved nothing."""
        library, decision = await self._decision(by, container, proposition)
        found = await self._store.reservation(library, decision, self._clock())
        if found is None:
            raise _nothing(proposition)
        return found

    async def _decision(self, by: Principal, container: str, proposition: str) -> tuple[str, str]:
        """The container, and the decision that has this proposition."""
        require(by, Permission.DECISIONS_EXECUTE)
        library = self._libraries.find(by, container).container.id
        if moment_ms(proposition) is not None:
            return library, proposition.lower()
        event = await self._store.decision_event(library, proposition)
        if event is None:
            raise _nothing(proposition)
        return library, event.id


def _nothing(proposition: str) -> NotFound:
    return NotFound(
        f"the proposition `{proposition[:100]}` reserved nothing", code="reservation-not-found"
    )
