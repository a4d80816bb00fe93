"""All inputs of one decision besides the snapshot."""

from msgspec import Struct

from proffer.model.capping import NO_USAGE, CapUsage
from proffer.model.profile import UNKNOWN_PROFILE, Profile
from proffer.model.request import DecisionRequest


class Inputs(Struct, frozen=True, kw_only=True):
    """Request, profile, cap usage, time, and the seed of the tie-break.

    `now_us` is microseconds since 1970, UTC. The same snapshot and inputs give the same outcome on any
    machine.
    """

    request: DecisionRequest
    now_us: int
    seed: str
    profile: Profile = UNKNOWN_PROFILE
    usage: CapUsage = NO_USAGE
