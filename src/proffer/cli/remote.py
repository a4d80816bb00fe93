"""Read a library from another installation's API, page by page.

Both generations of the API are supported. Response time, response size and number of pages are limited. The
token is sent only to the given host: redirects and links to other hosts are refused.
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
MAX_PAGES = 1_000
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 30
_API_PREFIX = "/data/core/"
_LINK_SAFE_CHARACTERS = "%/:?&=;,+@!$'()*~"


class ApiGeneration(StrEnum):
    """Generation of the repository API."""

    XCORE = "xcore"
    DPS = "dps"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteApi:
    """An API to read from; `base` is its URL up to `/data/core/xcore` or `/data/core/dps`."""

    base: str
    api: ApiGeneration
    headers: Mapping[str, str]
    container: str | None
    sandbox: str | None
    opener: OpenerDirector

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        api: ApiGeneration | None = None,
        token: str | None = None,
        container: str | None = None,
        organisation: str | None = None,
        sandbox: str | None = None,
        api_key: str = "proffer",
    ) -> Self:
        """Return the API at a server, API or container URL. Raises `Invalid`."""
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            message = "--from-url: not a valid http or https URL"
            raise _setting_error(message, "use a URL such as `https://host/data/core/dps`, and --token for the token")
        path = parts.path.rstrip("/")
        prefix, separator, suffix = path.partition(_API_PREFIX)
        generation, _, container_path = suffix.partition("/")
        if separator and generation in set(ApiGeneration):
            if api is not None and api != generation:
                raise _setting_error(f"--api: the URL is that of the API `{generation}`", "remove --api")
            api, path = ApiGeneration(generation), prefix
            container = container or container_path.partition("/")[0] or None
        api = api or ApiGeneration.DPS
        headers = {
            "Accept": f'*/*, {xcore.HAL_TYPE}; schema="{xcore.RESULTS}"'
            if api is ApiGeneration.XCORE
            else "*,application/json",
            "x-api-key": api_key,
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **({"x-gw-ims-org-id": organisation} if organisation else {}),
            **({"x-sandbox-name": sandbox} if sandbox else {}),
        }
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise _setting_error(f"the header `{name}` is not printable ASCII", "use ASCII characters only")
        return cls(
            base=f"{parts.scheme}://{parts.netloc}{path}{_API_PREFIX}{api}",
            api=api,
            headers=headers,
            container=container,
            sandbox=sandbox,
            opener=build_opener(_NoRedirects),
        )

    def read_library(self, warn: Callable[[str], None]) -> dict[str, list[dict[str, Any]]]:
        """Return all objects in the form of a library file. Raises `Unavailable` or `Malformed` with the URL."""
        lists = self._xcore_list_urls() if self.api is ApiGeneration.XCORE else self._dps_list_urls()
        return {name: self._objects(kind, lists[kind], warn) for name, kind in SECTIONS.items()}

    def _xcore_list_urls(self) -> dict[EntityKind, str]:
        container = quote(self.container or self._only_container(), safe="")
        return {
            kind: f"{self.base}/{container}/instances?"
            + urlencode({"schema": xcore.NAMESPACE + kind, "limit": PAGE_SIZE})
            for kind in SECTIONS.values()
        }

    def _dps_list_urls(self) -> dict[EntityKind, str]:
        query = {
            "limit": PAGE_SIZE,
            "orderBy": "created",
        }  # this order is stable under changes
        lists = {EntityKind(kind): f"{self.base}/{path}?{urlencode(query)}" for path, kind in dps.COLLECTIONS.items()}
        for name, kind in dps.OFFER_TYPES.items():
            query_string = urlencode({**query, "offer-type": name})
            lists[EntityKind(kind)] = f"{self.base}/offers?{query_string}"
        return lists

    def _only_container(self) -> str:
        """Return the container of the sandbox from the home resource. Raises `Invalid` unless there is one."""
        embedded = self._get(f"{self.base}/").get("_embedded")
        rows = embedded.get(xcore.CONTAINER_SCHEMA) if isinstance(embedded, Mapping) else None
        container_ids: list[str] = []
        for row in rows if isinstance(rows, list) else ():
            container = row.get("instanceId") if isinstance(row, Mapping) else None
            instance = row.get("_instance") if isinstance(row, Mapping) else None
            parent = instance.get("parentName") if isinstance(instance, Mapping) else None
            if isinstance(container, str) and self.sandbox in {None, parent}:
                container_ids.append(container)
        if len(container_ids) != 1:
            ids_note = f": {', '.join(container_ids[:10])}" if container_ids else ""
            raise _setting_error(
                f"{self.base} has {len(container_ids)} readable containers{ids_note}",
                "select one with --container or --from-sandbox",
            )
        return container_ids[0]

    def _objects(self, kind: EntityKind, first_url: str, warn: Callable[[str], None]) -> list[dict[str, Any]]:
        """Return all objects of a kind; one that appears on two pages (it was changed) counts once."""
        documents: dict[str, dict[str, Any]] = {}
        total: object = None
        for page in self._pages(first_url):
            envelope = page.get("_embedded") if self.api is ApiGeneration.XCORE else page
            rows = envelope.get("results") if isinstance(envelope, Mapping) else None
            if not isinstance(envelope, Mapping) or not isinstance(rows, list):
                raise _page_error(first_url, "it has no list `results`")
            total = envelope.get("total") if total is None else total
            for row in rows:
                document = self._document(kind, first_url, row)
                entity_id = document.get("@id")
                key = canonical(entity_id) if isinstance(entity_id, str) else f"#{len(documents)}"
                documents[key] = document
        if isinstance(total, int) and len(documents) < total:
            warn(f"{first_url} listed only {len(documents)} of {total} objects")
        return list(documents.values())

    def _document(self, kind: EntityKind, url: str, row: Any) -> dict[str, Any]:
        """Return the object of a list row in its stored spelling."""
        document = row.get("_instance") if self.api is ApiGeneration.XCORE and isinstance(row, dict) else row
        if not isinstance(document, dict):
            raise _page_error(url, "a result is not an object")
        if self.api is ApiGeneration.DPS:
            members = {name: value for name, value in document.items() if name not in dps.ENVELOPE_MEMBERS}
            document = to_stored(dps.RENAMING_BY_KIND[kind], members)
        return dict(document)

    def _pages(self, url: str) -> Iterator[dict[str, Any]]:
        seen_urls: set[str] = set()
        next_url: str | None = url
        while next_url is not None:
            if next_url in seen_urls or len(seen_urls) >= MAX_PAGES:
                raise _page_error(url, f"the list repeats a page or has more than {MAX_PAGES:,} pages")
            seen_urls.add(next_url)
            page = self._get(next_url)
            yield page
            next_url = self._next_url(next_url, page)

    def _next_url(self, url: str, page: Mapping[str, Any]) -> str | None:
        """Return the URL of the next page; a link may be relative to the API, to the host, or absolute."""
        links = page.get("_links")
        link = links.get("next") if isinstance(links, Mapping) else None
        href = link.get("href") if isinstance(link, Mapping) else None
        if not isinstance(href, str) or not href:
            return None
        href = quote(href, safe=_LINK_SAFE_CHARACTERS)
        base = urlsplit(self.base)
        if urlsplit(href).scheme or href.startswith("//"):
            target = urlsplit(href)
            if (target.scheme, target.netloc) != (base.scheme, base.netloc):
                raise _page_error(url, "the link to the next page leads to another host")
            return href
        if href.startswith(f"{base.path}/"):
            return f"{base.scheme}://{base.netloc}{href}"
        return f"{self.base}/{href.lstrip('/')}"

    def _get(self, url: str) -> dict[str, Any]:
        try:
            request = Request(url, headers=dict(self.headers))  # noqa: S310 - http or https, as checked
            with self.opener.open(request, timeout=TIMEOUT_S) as response:
                body = response.read(MAX_RESPONSE_BYTES + 1)
        except HTTPError as error:
            with error:
                raise Unavailable(f"{url} responded with status {error.code}", code="remote-refused") from None
        except (OSError, HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise Unavailable(f"cannot read {url}: {reason}", code="remote-unreachable") from None
        if len(body) > MAX_RESPONSE_BYTES:
            raise _page_error(url, f"it is larger than {MAX_RESPONSE_BYTES:,} bytes")
        try:
            page = decode(body)
        except ProfferError as error:
            raise _page_error(url, error.detail) from None
        if not isinstance(page, dict):
            raise _page_error(url, "it is not an object")
        return page


def with_stored_spelling(entries: Sequence[Entry], catalog: Catalog) -> list[Entry]:
    """Return entries of the dps API with the catalog's spelling of members.

    Entries that are not in the catalog are unchanged. A stored document may spell a member in several ways;
    the dps API shows only one of them.
    """
    spelled_entries: list[Entry] = []
    for kind, path, document in entries:
        entity_id = document.get("@id")
        stored_instance = catalog.by_id(entity_id) if isinstance(entity_id, str) else None
        if stored_instance is not None and stored_instance.kind is kind:
            table = dps.RENAMING_BY_KIND[kind]
            document = to_stored(table, to_public(table, document), stored_instance.document)  # noqa: PLW2901
        spelled_entries.append((kind, path, document))
    return spelled_entries


def _setting_error(message: str, hint: str) -> Invalid:
    return Invalid.of([Violation(code="setting", message=message, help=hint)])


def _page_error(url: str, reason: str) -> Malformed:
    return Malformed(f"cannot read the response of {url}: {reason}", code="remote-answer")
