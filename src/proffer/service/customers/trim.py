"""Correction of identities that earlier versions stored with blanks around the id."""

from itertools import groupby

from proffer.model.customer import IdentityTrim
from proffer.model.identity import IdentityKey, trim_id
from proffer.service.runtime.clock import Clock
from proffer.store.ports import ProfileStore
from proffer.telemetry import log_warning

_PAGE = 200


async def trim_identities(store: ProfileStore, clock: Clock) -> None:
    """Trim the ids of the identities that the migration has listed, and log how many.

    Customers whose ids are then equal are merged into the oldest. Resumes after an interruption.
    """
    counts = {"trimmed": 0, "merged": 0, "refused": 0}
    while page := await store.untrimmed_identities(_PAGE):
        for container_id, pairs in groupby(sorted(page), key=lambda pair: pair[0]):
            trims = [_trim(identity) for _, identity in pairs]
            held = await store.customers(container_id, [trim.identities[0] for trim in trims])
            taken = {identity for customer in held for identity in customer.identities}
            results = await store.apply_changes(container_id, trims, now_us=clock())
            for trim, result in zip(trims, results, strict=True):
                if result.refusal is not None:
                    counts["refused"] += 1
                elif not result.is_duplicate:
                    counts["trimmed"] += 1
                    counts["merged"] += trim.identities[0] in taken
                    taken.add(trim.identities[0])
        await store.delete_untrimmed(page)
    if any(counts.values()):
        log_warning(
            f"{counts['trimmed']:,} identities were stored with blanks around the id and are trimmed; "
            f"{counts['merged']:,} of them were those of another customer, and the two are merged; "
            f"{counts['refused']:,} stay as they are, because their customers have too many identities to be merged"
        )


def _trim(identity: IdentityKey) -> IdentityTrim:
    return IdentityTrim(identities=(IdentityKey(identity.namespace, trim_id(identity.id)), identity))
