"""All that the engine may know about the world for one request. Nothing else reaches it."""

from msgspec import Struct

from proffer.model.capping import UNUSED, CapUsage
from proffer.model.profile import UNKNOWN, Profile
from proffer.model.request import DecisionRequest


class Inputs(Struct, frozen=True, kw_only=True):
    """One request, who it is for, what has been used, when it is, and the seed of the draw among ties.

    `now_us` is microseconds since 1970, UTC. The same snapshot and inputs give the same outcome on any
    machine.
    """

    request: DecisionRequest
    now_us: int
    seed: str
    profile: Profile = UNKNOWN
    usage: CapUsage = UNUSED
