"""The decision scope string: base64 of compact JSON that names a decision and a placement (spec 5.2)."""

from base64 import b64encode

from proffer.wire.codec import encode


def encode_scope(decision: str, placement: str | None = None) -> str:
    """The scope string of the hub's answers; without a placement, that of a 0.9 answer."""
    members = {"xdm:activityId": decision}
    if placement is not None:
        members["xdm:placementId"] = placement
    return b64encode(encode(members)).decode()
