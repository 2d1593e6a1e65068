"""Topics, references and points: from content files to the database."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.db import models

from kb.content.checks import Finding, Items, Known, check_known, find_cycle
from kb.content.registry import ContentType, Problem
from kb.models import Point, Reference, Topic
from kb.schema import PointSource, ReferenceSource, TopicSource
from kb.text import LANGUAGES, Text


def text_columns(source: Any, *fields: str) -> dict[str, str]:
    """`{"title_en": …, "title_zh": …}` for the Text fields of a source."""
    columns = {}
    for field in fields:
        text: Text = getattr(source, field)
        columns.update({f"{field}_{language}": getattr(text, language) for language in LANGUAGES})
    return columns


def ids_by_slug(model: type[models.Model]) -> dict[str, int]:
    return dict(model._default_manager.values_list("slug", "pk"))


def text_of(row: models.Model, field: str) -> Text:
    """The two columns of a text."""
    return Text(**{language: getattr(row, f"{field}_{language}") for language in LANGUAGES})


def texts_of_row(row: models.Model, *fields: str) -> dict[str, Text]:
    return {field: text_of(row, field) for field in fields}


def write_columns(row: models.Model, values: dict[str, Any]) -> None:
    """Save a row, new or not, with these values."""
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def save_topics(sources: list[TopicSource]) -> None:
    rows = Topic.objects.in_bulk(field_name="slug")
    for position, source in enumerate(sources):
        row = rows.get(source.slug) or Topic(slug=source.slug)
        write_columns(row, {"position": position, **topic_columns(source)})


def topic_columns(source: TopicSource) -> dict[str, str]:
    return text_columns(source, "title", "summary")


def apply_topic(row: Topic, source: TopicSource) -> None:
    write_columns(row, topic_columns(source))


def load_topics() -> list[TopicSource]:
    return [topic_source(row) for row in Topic.objects.all()]


def topic_source(row: Topic) -> TopicSource:
    return TopicSource(slug=row.slug, **texts_of_row(row, "title", "summary"))


def save_references(sources: list[ReferenceSource]) -> None:
    rows = Reference.objects.in_bulk(field_name="key")
    for source in sources:
        apply_reference(rows.get(source.key) or Reference(key=source.key), source)


def apply_reference(row: Reference, source: ReferenceSource) -> None:
    write_columns(row, source.model_dump(exclude={"key"}))


def load_references() -> list[ReferenceSource]:
    return [reference_source(row) for row in Reference.objects.all()]


def reference_source(row: Reference) -> ReferenceSource:
    return ReferenceSource(**{field: getattr(row, field) for field in ReferenceSource.model_fields})


def save_points(sources: list[PointSource]) -> None:
    topics, rows = ids_by_slug(Topic), Point.objects.in_bulk(field_name="slug")
    for source in sources:
        _write_point(rows.get(source.slug) or Point(slug=source.slug), source, topics)
    points = Point.objects.in_bulk(field_name="slug")
    for source in sources:
        points[source.slug].prerequisites.set([points[slug] for slug in source.prerequisites])


def _write_point(row: Point, source: PointSource, topics: dict[str, int]) -> None:
    values: dict[str, Any] = text_columns(source, "title", *Point.PARTS)
    values |= source.model_dump(include={"position", "covers", "status"})
    write_columns(row, values | {"topic_id": topics[source.topic]})


def apply_point(row: Point, source: PointSource) -> None:
    _write_point(row, source, ids_by_slug(Topic))
    row.prerequisites.set(Point.objects.filter(slug__in=source.prerequisites))


def load_points() -> list[PointSource]:
    return [point_source(row) for row in stored_points()]


def stored_points() -> models.QuerySet[Point]:
    return Point.objects.select_related("topic").prefetch_related("prerequisites")


def new_point(slug: str, values: dict[str, Any]) -> Point:
    return Point(slug=slug, topic=Topic.objects.filter(slug=str(values.get("topic", ""))).first())


def point_source(row: Point, prerequisites: Iterable[Point] | None = None) -> PointSource:
    """What the row holds; `prerequisites` are those of an edit that is not saved yet."""
    before = row.prerequisites.all() if prerequisites is None else prerequisites
    return PointSource(
        slug=row.slug,
        topic=row.topic.slug,
        position=row.position,
        prerequisites=sorted(point.slug for point in before),
        covers=row.covers,
        status=row.status,
        **texts_of_row(row, "title", *Point.PARTS),
    )


def check_point(source: PointSource, known: Known) -> Iterator[Finding]:
    yield from check_known(known, "topic", source.topic, "topic")
    for slug in source.prerequisites:
        yield from check_known(known, "prerequisites", slug, "point")


def check_points(items: Items) -> Iterator[Problem]:
    cycle = find_cycle({item.source.slug: item.source.prerequisites for item in items["points"]})
    if cycle:
        item = next(item for item in items["points"] if item.source.slug == cycle[0])
        yield Problem(item.file, item.line, "cycle", f"prerequisites run in a circle: {' → '.join(cycle)}")


def remove_topics(slugs: list[str]) -> None:
    """Topics that nothing stands in any more; the others stay until it is gone."""
    for topic in Topic.objects.filter(slug__in=slugs):
        with suppress(models.ProtectedError):
            topic.delete()


def remove_references(keys: list[str]) -> None:
    Reference.objects.filter(key__in=keys).delete()


def remove_points(slugs: list[str]) -> None:
    Point.objects.filter(slug__in=slugs).delete()


CONTENT_TYPES = [
    ContentType(
        "topics",
        TopicSource,
        save_topics,
        load_topics,
        remove_topics,
        model=Topic,
        source_of=topic_source,
        apply=apply_topic,
        file="topics.yaml",
        order=10,
    ),
    ContentType(
        "references",
        ReferenceSource,
        save_references,
        load_references,
        remove_references,
        model=Reference,
        source_of=reference_source,
        apply=apply_reference,
        file="references.yaml",
        sort_key=lambda source: source.key,
        key="key",
        order=20,
    ),
    ContentType(
        "points",
        PointSource,
        save_points,
        load_points,
        remove_points,
        model=Point,
        source_of=point_source,
        apply=apply_point,
        rows=stored_points,
        new_row=new_point,
        folder="points",
        path=lambda source: f"points/{source.topic}/{source.slug}.yaml",
        check_one=check_point,
        check=check_points,
        prose=frozenset(Point.PARTS),
        order=30,
    ),
]
