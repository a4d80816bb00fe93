"""The log: the only module that touches `logging`."""

import logging

log = logging.getLogger("proffer")
"""Where Proffer says what operators should know. What a client did wrong is told to the client, not here."""


def failure(message: str, error: BaseException) -> None:
    """Something that should not have been possible: with the traceback, so that it can be mended."""
    log.error(message, exc_info=error)


def notice(message: str) -> None:
    """Something an operator should know, though nothing is broken."""
    log.warning(message)
