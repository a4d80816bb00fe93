"""Read a library from another installation's API, page by page, in either generation of the API.

Response time, response size and number of pages are limited. The token is sent only to the given host:
redirects and links to other hosts are refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPException
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from proffer.errors import Invalid, Malformed, ProfferError, Unavailable, Violation
from proffer.model.catalog import Catalog
from proffer.model.ids import EntityKind, canonical
from proffer.service.library.load import SECTIONS, Entry
from proffer.wire import dps, xcore
from proffer.wire.codec import decode
from proffer.wire.renaming import to_public, to_stored

PAGE_SIZE = 100
MOST_PAGES = 1_000
MOST_BYTES = 64 * 1024 * 1024
SECONDS = 30
_PATHS = "/data/core/"
_IN_LINKS = "%/:?&=;,+@!$'()*~"


class Api(StrEnum):
    """Generation of the repository API."""

    XCORE = "xcore"
    DPS = "dps"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An API to read from; `base` is its URL up to `/data/core/xcore` or `/data/core/dps`."""

    base: str
    api: Api
    headers: Mapping[str, str]
    container: str | None
    sandbox: str | None
    opener: OpenerDirector

    @classmethod
    def at(
        cls,
        url: str,
        *,
        api: Api | None = None,
        token: str | None = None,
        container: str | None = None,
        organisation: str | None = None,
        sandbox: str | None = None,
        api_key: str = "proffer",
    ) -> Self:
        """Return the API at the URL of a server, an API or a container. Raises `Invalid`."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            message = "--from-url: this is no address that can be read"
            raise _setting(message, "use `https://host/data/core/dps`, and --token for the token")
        path = parts.path.rstrip("/")
        before, named, after = path.partition(_PATHS)
        first, _, rest = after.partition("/")
        if named and first in set(Api):
            if api is not None and api != first:
                raise _setting(f"--api: the address is that of `{first}`", "leave --api out")
            api, path = Api(first), before
            container = container or rest.partition("/")[0] or None
        api = api or Api.DPS
        headers = {
            "Accept": f'*/*, {xcore.HAL_TYPE}; schema="{xcore.RESULTS}"'
            if api is Api.XCORE
            else "*,application/json",
            "x-api-key": api_key,
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **({"x-gw-ims-org-id": organisation} if organisation else {}),
            **({"x-sandbox-name": sandbox} if sandbox else {}),
        }
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise _setting(f"what is to be sent as `{name}` is not printable ASCII", "mend it")
        return cls(
            base=f"{parts.scheme}://{parts.netloc}{path}{_PATHS}{api}",
            api=api,
            headers=headers,
            container=container,
            sandbox=sandbox,
            opener=build_opener(_NoRedirects),
        )

    def library(self, warn: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
        """Return all objects in the form of a library file. Raises `Unavailable` or `Malformed` with the URL."""
        lists = self._xcore_lists() if self.api is Api.XCORE else self._dps_lists()
        return {name: self._objects(kind, lists[kind], warn) for name, kind in SECTIONS.items()}

    def _xcore_lists(self) -> dict[EntityKind, str]:
        container = quote(self.container or self._only_container(), safe="")
        return {
            kind: f"{self.base}/{container}/instances?"
            + urlencode({"schema": xcore.NAMESPACE + kind, "limit": PAGE_SIZE})
            for kind in SECTIONS.values()
        }

    def _dps_lists(self) -> dict[EntityKind, str]:
        query = {
            "limit": PAGE_SIZE,
            "orderBy": "created",
        }  # this order is stable under changes
        lists = {
            EntityKind(kind): f"{self.base}/{path}?{urlencode(query)}"
            for path, kind in dps.COLLECTIONS.items()
        }
        for name, kind in dps.OFFER_TYPES.items():
            asked = urlencode({**query, "offer-type": name})
            lists[EntityKind(kind)] = f"{self.base}/offers?{asked}"
        return lists

    def _only_container(self) -> str:
        """Return the container of the sandbox from the home resource. Raises `Invalid` unless there is one."""
        embedded = self._get(f"{self.base}/").get("_embedded")
        listed = embedded.get(xcore.CONTAINER_SCHEMA) if isinstance(embedded, Mapping) else None
        found: list[str] = []
        for one in listed if isinstance(listed, list) else ():
            container = one.get("instanceId") if isinstance(one, Mapping) else None
            inside = one.get("_instance") if isinstance(one, Mapping) else None
            parent = inside.get("parentName") if isinstance(inside, Mapping) else None
            if isinstance(container, str) and self.sandbox in {None, parent}:
                found.append(container)
        if len(found) != 1:
            named = f": {', '.join(found[:10])}" if found else ""
            raise _setting(
                f"{self.base} has {len(found)} containers to read from{named}",
                "name one with --container, or its sandbox with --from-sandbox",
            )
        return found[0]

    def _objects(
        self, kind: EntityKind, first: str, warn: Callable[[str], None]
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind; one that appears on two pages (it was changed) counts once."""
        found: dict[str, dict[str, Any]] = {}
        total: object = None
        for page in self._pages(first):
            inside = page.get("_embedded") if self.api is Api.XCORE else page
            rows = inside.get("results") if isinstance(inside, Mapping) else None
            if not isinstance(inside, Mapping) or not isinstance(rows, list):
                raise _no_page(first, "it has no list `results`")
            total = inside.get("total") if total is None else total
            for row in rows:
                document = self._document(kind, first, row)
                entity_id = document.get("@id")
                key = canonical(entity_id) if isinstance(entity_id, str) else f"#{len(found)}"
                found[key] = document
        if isinstance(total, int) and len(found) < total:
            warn(f"it said there were {total} objects at {first} and listed {len(found)}")
        return list(found.values())

    def _document(self, kind: EntityKind, url: str, row: Any) -> dict[str, Any]:
        """Return the object of a list row in its stored spelling."""
        document = row.get("_instance") if self.api is Api.XCORE and isinstance(row, dict) else row
        if not isinstance(document, dict):
            raise _no_page(url, "a result is no object")
        if self.api is Api.DPS:
            own = {
                name: value for name, value in document.items() if name not in dps.ENVELOPE_MEMBERS
            }
            document = to_stored(dps.RENAMING_BY_KIND[kind], own)
        return dict(document)

    def _pages(self, url: str) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        following: str | None = url
        while following is not None:
            if following in seen or len(seen) >= MOST_PAGES:
                raise _no_page(url, f"its pages do not end, or are more than {MOST_PAGES:,}")
            seen.add(following)
            page = self._get(following)
            yield page
            following = self._next(following, page)

    def _next(self, url: str, page: Mapping[str, Any]) -> str | None:
        """Return the URL of the next page; a link may be relative to the API, to the host, or absolute."""
        links = page.get("_links")
        link = links.get("next") if isinstance(links, Mapping) else None
        href = link.get("href") if isinstance(link, Mapping) else None
        if not isinstance(href, str) or not href:
            return None
        href = quote(href, safe=_IN_LINKS)
        here = urlsplit(self.base)
        if urlsplit(href).scheme or href.startswith("//"):
            there = urlsplit(href)
            if (there.scheme, there.netloc) != (here.scheme, here.netloc):
                raise _no_page(url, "its next page is at another address")
            return href
        if href.startswith(f"{here.path}/"):
            return f"{here.scheme}://{here.netloc}{href}"
        return f"{self.base}/{href.lstrip('/')}"

    def _get(self, url: str) -> dict[str, Any]:
        try:
            request = Request(url, headers=dict(self.headers))  # noqa: S310 - http or https, as checked
            with self.opener.open(request, timeout=SECONDS) as answer:
                body = answer.read(MOST_BYTES + 1)
        except HTTPError as error:
            with error:
                raise Unavailable(
                    f"{url} answered with status {error.code}", code="remote-refused"
                ) from None
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise Unavailable(f"cannot read {url}: {reason}", code="remote-unreachable") from None
        if len(body) > MOST_BYTES:
            raise _no_page(url, f"it is larger than {MOST_BYTES:,} bytes")
        try:
            page = decode(body)
        except ProfferError as error:
            raise _no_page(url, error.detail) from None
        if not isinstance(page, dict):
            raise _no_page(url, "it is no object")
        return page


def spelled_as_there(entries: Sequence[Entry], catalog: Catalog) -> list[Entry]:
    """Return entries of the dps API with their members spelled as in the catalog, if it has the object.

    A stored document may spell a member in several ways; the dps API shows only one of them.
    """
    found: list[Entry] = []
    for kind, path, document in entries:
        entity_id = document.get("@id")
        known = catalog.by_id(entity_id) if isinstance(entity_id, str) else None
        if known is not None and known.kind is kind:
            table = dps.RENAMING_BY_KIND[kind]
            document = to_stored(table, to_public(table, document), known.document)  # noqa: PLW2901
        found.append((kind, path, document))
    return found


def _setting(message: str, mend: str) -> Invalid:
    return Invalid.of([Violation(code="setting", message=message, help=mend)])


def _no_page(url: str, reason: str) -> Malformed:
    return Malformed(f"what {url} answered cannot be read: {reason}", code="remote-answer")
