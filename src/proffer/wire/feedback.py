"""Documents of `/api/feedback`: reports of displays, clicks and dismissals."""

from proffer.validation import (
    AnyShape,
    DateTimeShape,
    ListShape,
    MapShape,
    Member,
    ObjectShape,
    Shape,
    TextShape,
)

MAX_EVENTS = 1000
_KEY = TextShape(min=1, max=1024)

FEEDBACK_EVENT = ObjectShape(
    {
        "id": Member(_KEY, required=True),
        "type": Member(TextShape(min=1, max=200), required=True),
        "propositionId": Member(_KEY, required=True),
        "scope": Member(TextShape(min=1, max=4096)),
        "items": Member(ListShape(_KEY)),
        "tokens": Member(ListShape(_KEY)),
        "at": Member(DateTimeShape()),
        "data": Member(MapShape(AnyShape())),
    }
)
FEEDBACK: Shape = ObjectShape({"events": Member(ListShape(FEEDBACK_EVENT, 1, MAX_EVENTS), required=True)})
FEEDBACK_LIST: Shape = ObjectShape({"events": Member(ListShape(AnyShape(), 1, MAX_EVENTS), required=True)})
"""A request whose events are checked one by one, so that a mistake in one does not refuse the others."""
