"""How the proposition ids of the edge lead to the decisions that they are of.

Such an id says nothing of when it was made (R34), so it is kept, as a number under the day of its
decision: rows that come together lie together, and those of a day go together. A row leads to the moment
of a pack, and the pack is looked through. Ids that share a number by chance cost a look and nothing more.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence

from proffer.model.events import moment_ms
from proffer.store.events import SPAN_MS

DAY_MS = 86_400_000
_BITS = 47
"""So many bits of an id stand under the number of its day."""
_MOST_DAYS = 1500
"""An id is looked for under so many days, the newest first, whatever clocks did to what is on record."""


def spelled(proposition: str) -> str:
    """The id as ours are spelled; empty where it is no UUID."""
    try:
        return str(uuid.UUID(proposition))
    except ValueError:
        return ""


def rows_of(decisions: Iterable[tuple[str, str, Sequence[str]]]) -> list[tuple[int, list[int]]]:
    """What to keep of decisions of one commit: container, id and edge ids of each to a moment and keys.

    Keys stand with a moment within the pack that `in_packs` puts the decision into.
    """
    together: dict[tuple[str, int], list[tuple[int, Sequence[str]]]] = defaultdict(list)
    for container, decision, edge_ids in decisions:
        if edge_ids:
            moment = moment_ms(decision) or 0
            together[container, moment // SPAN_MS].append((moment, edge_ids))
    return [
        (
            min(moment for moment, _ in listed),
            [
                _key(edge_id, moment // DAY_MS)
                for moment, edge_ids in listed
                for edge_id in edge_ids
            ],
        )
        for listed in together.values()
    ]


def keys_of(edge_id: str, oldest_ms: int, newest_ms: int) -> list[int]:
    """Where this id may stand, given the moments of the oldest and the newest decision on record."""
    newest = newest_ms // DAY_MS
    oldest = max(oldest_ms // DAY_MS, newest - _MOST_DAYS)
    return [_key(edge_id, day) for day in range(oldest, newest + 1)]


def before(moment: int) -> int:
    """No key of the day of this moment, or of a later one, is below this."""
    return moment // DAY_MS << _BITS


def _key(edge_id: str, day: int) -> int:
    digits = edge_id[:8] + edge_id[9:13]  # 48 bits of the digest, all of them chance
    return day << _BITS | int(digits, 16) >> 1
