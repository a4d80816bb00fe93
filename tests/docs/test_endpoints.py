"""Every endpoint has its paragraph, and the page matches the OpenAPI description."""

import re

from starlette.routing import Route

from endpoints_page import PAGE, page
from support.server import server


def test_every_route_has_its_paragraph() -> None:
    """The headings are exactly the methods and paths of the app."""
    with server() as client:
        served = {
            f"{method} {route.path}"
            for route in client.app.routes  # type: ignore[attr-defined]
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        }
    text = PAGE.read_text(encoding="utf-8")

    assert set(re.findall(r"^### `([A-Z]+ [^`]+)`$", text, re.MULTILINE)) == served


def test_the_page_is_up_to_date() -> None:
    """The page is current; `python tools/endpoints_page.py` rewrites it."""
    assert PAGE.read_text(encoding="utf-8") == page()
