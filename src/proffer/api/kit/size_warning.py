"""The `Warning` header for offers larger than the documented advice (R32)."""

from proffer.model.documents import WARN_OFFER_BYTES
from proffer.model.ids import EntityKind
from proffer.model.instance import Instance
from proffer.wire.codec import encode


def size_warning_headers(instance: Instance) -> dict[str, str]:
    """Return a `Warning` header for an offer above the advised size."""
    if instance.kind not in {EntityKind.OFFER, EntityKind.FALLBACK}:
        return {}
    size = len(encode(instance.document))
    if size <= WARN_OFFER_BYTES:
        return {}
    advice = f"the documented recommendation is at most {WARN_OFFER_BYTES}"
    return {"Warning": f'199 proffer "the offer has {size} bytes; {advice}"'}
