"""What is wrong with an edited item: the checks that content files go through, against what the database holds."""

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import Model
from pydantic import ValidationError

from kb.content.checks import Finding, Known, check_source, find_cycle
from kb.content.registry import ContentType, content_types
from kb.models import Point


class ItemRefused(ValueError):
    """An item is not as content has to be; nothing was written."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        super().__init__("\n".join(str(finding) for finding in findings))


def known_here() -> Known:
    """What an item may refer to. One query a kind."""
    return {t.name: set(t.model._default_manager.values_list(t.key, flat=True)) for t in content_types()}


def checked_source(content_type: ContentType, make: Callable[[], Any], known: Known | None = None) -> Any:
    """The source that `make` gives, or ItemRefused with all that is wrong with it."""
    try:
        source = make()
    except ValidationError as e:
        raise ItemRefused([_schema_finding(dict(error)) for error in e.errors(include_url=False)]) from e
    known = known_here() if known is None else known
    findings = [*check_source(content_type, source, known), *_cycle(content_type, source)]
    if findings:
        raise ItemRefused(findings)
    return source


def _schema_finding(error: dict[str, Any]) -> Finding:
    place = [str(part) for part in error["loc"]]
    language = place.pop() if place and place[-1] in ("en", "zh") else ""
    return Finding("schema", ".".join(place), error["msg"].removeprefix("Value error, "), language)


def _cycle(content_type: ContentType, source: Any) -> Iterator[Finding]:
    """Prerequisites that would lead back to the point itself."""
    if content_type.model is not Point:
        return
    links = Point.prerequisites.through.objects.exclude(from_point__slug=source.slug)
    edges: dict[str, list[str]] = {source.slug: source.prerequisites}
    for later, earlier in links.values_list("from_point__slug", "to_point__slug"):
        edges.setdefault(later, []).append(earlier)
    if cycle := find_cycle(edges):
        yield Finding("cycle", "prerequisites", f"prerequisites run in a circle: {' → '.join(cycle)}")


def is_retired(row: Model) -> bool:
    """Retired items are kept for what learners did with them; nobody edits them."""
    return getattr(row, "status", "") == "retired"
