"""Cap reservations of decisions: confirm, release or read them (R22)."""

from proffer.errors import NotFound
from proffer.model.capping import Reservation
from proffer.model.events import decision_time_ms
from proffer.service.library.registry import AuthorizedContainer
from proffer.service.runtime.clock import Clock
from proffer.store.ports import CapStore


class ReservationService:
    """Use cases of reservations. The permission to decide covers them."""

    def __init__(self, store: CapStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def confirm(self, access: AuthorizedContainer, proposition: str) -> Reservation:
        """Make a reservation count for good. Raises `NotFound`, or `Conflict` once it is released."""
        decision = await self._decision_id(access, proposition)
        return await self._store.confirm(access.id, decision, self._clock())

    async def release(self, access: AuthorizedContainer, proposition: str) -> Reservation:
        """Return a reservation to the caps. Raises `NotFound`, or `Conflict` once it is confirmed."""
        decision = await self._decision_id(access, proposition)
        return await self._store.release(access.id, decision, self._clock())

    async def state(self, access: AuthorizedContainer, proposition: str) -> Reservation:
        """Return a reservation. Raises `NotFound` if the decision reserved nothing."""
        decision = await self._decision_id(access, proposition)
        reservation = await self._store.reservation(access.id, decision, self._clock())
        if reservation is None:
            raise _not_reserved(proposition)
        return reservation

    async def _decision_id(self, access: AuthorizedContainer, proposition: str) -> str:
        """Return the id of the decision of a proposition."""
        if decision_time_ms(proposition) is not None:
            return proposition.lower()
        event = await self._store.decision_event(access.id, proposition)
        if event is None:
            raise _not_reserved(proposition)
        return event.id


def _not_reserved(proposition: str) -> NotFound:
    return NotFound(f"the proposition `{proposition[:100]}` has no reservation", code="reservation-not-found")
