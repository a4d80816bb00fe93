"""Check a rule as the library of the caller would."""

from collections.abc import Collection, Mapping
from typing import Any

from proffer.auth.principal import Principal
from proffer.service.library.registry import Libraries
from proffer.service.rules.check import Checked, check, schema_of


class RuleService:
    """The use case behind editors: what a library would say if this text were saved into it."""

    def __init__(self, libraries: Libraries) -> None:
        self._libraries = libraries

    def check(
        self,
        by: Principal,
        expression: str | Mapping[str, Any],
        *,
        kind: str,
        roots: Collection[str],
        container: str | None = None,
    ) -> Checked:
        """The findings, against the schemas of the container: the one named, else the first the caller has."""
        if container is None:
            visible = self._libraries.visible(by)
            container = visible[0].id if visible else None
        schema = None
        if container is not None:
            schema = schema_of(self._libraries.find(by, container).catalog)
        return check(expression, kind=kind, roots=roots, schema=schema)
