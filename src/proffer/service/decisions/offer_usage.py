"""How often an offer was proposed, by the counter of its global cap."""

from collections.abc import Mapping
from dataclasses import dataclass

from proffer.errors import NotFound
from proffer.model.capping import CapEvent, CapLimit, CapScope
from proffer.model.ids import EntityKind
from proffer.model.offer import PersonalizedOffer
from proffer.model.parse import parse_entity
from proffer.model.placement import Placement
from proffer.service.library.registry import AuthorizedContainer
from proffer.store.ports import CapStore


@dataclass(frozen=True, slots=True)
class OfferUsage:
    """Propositions of an offer, and those of each channel for which they are known."""

    propositions: int
    by_channel: Mapping[str, int]


async def usage_of_offer(access: AuthorizedContainer, store: CapStore, offer_id: str, now_us: int) -> OfferUsage:
    """Return the count of the offer's global cap on decisions; of several, of one that does not repeat.

    The cap counts by placement, or for all placements together; then the channel is known if all have the same.
    Raises `NotFound` for an unknown offer, and for one without such a cap, which is not counted.
    """
    catalog = access.state.catalog
    instance = catalog.by_id(offer_id)
    if instance is None or instance.kind is not EntityKind.OFFER:
        raise NotFound(f"there is no offer `{offer_id[:200]}`", code="instance-not-found")
    offer = parse_entity(instance)
    assert isinstance(offer, PersonalizedOffer)
    limits = [limit for limit in offer.caps if _counts_propositions(limit)]
    if not limits:
        raise NotFound(
            f"the propositions of offer `{offer.name}` are not counted: it has no global cap on decisions",
            code="offer-not-counted",
        )
    counted = min(limits, key=lambda limit: limit.repeat is not None)
    usage = await store.global_usage(access.id, offer.id, now_us)
    counts = {placement: count for (_, name, placement), count in usage.items() if name == counted.name}
    channels = {key: _channel(access, key) for key in offer.representations}
    by_channel: dict[str, int] = {}
    for placement, count in counts.items():
        names = {channels.get(placement)} if placement else set(channels.values())
        channel = next(iter(names)) if len(names) == 1 else None
        if channel is not None:
            by_channel[channel] = by_channel.get(channel, 0) + count
    return OfferUsage(sum(counts.values()), by_channel)


def _counts_propositions(limit: CapLimit) -> bool:
    return limit.enabled and limit.scope is CapScope.GLOBAL and CapEvent.DECISIONING in limit.events


def _channel(access: AuthorizedContainer, placement_id: str) -> str | None:
    instance = access.state.catalog.by_id(placement_id)
    placement = parse_entity(instance) if instance is not None else None
    return placement.channel if isinstance(placement, Placement) else None
