"""Topics, references and points: from content files to the database."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.db import models

from kb.content.checks import Items, check_known, find_cycle
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


def save_topics(sources: list[TopicSource]) -> None:
    for position, source in enumerate(sources):
        values: dict[str, Any] = {"position": position, **text_columns(source, "title", "summary")}
        Topic.objects.update_or_create(slug=source.slug, defaults=values)


def load_topics() -> list[TopicSource]:
    return [TopicSource(slug=row.slug, **texts_of_row(row, "title", "summary")) for row in Topic.objects.all()]


def save_references(sources: list[ReferenceSource]) -> None:
    for source in sources:
        Reference.objects.update_or_create(key=source.key, defaults=source.model_dump(exclude={"key"}))


def load_references() -> list[ReferenceSource]:
    fields = list(ReferenceSource.model_fields)
    return [ReferenceSource(**row) for row in Reference.objects.values(*fields)]


def save_points(sources: list[PointSource]) -> None:
    topics = ids_by_slug(Topic)
    for source in sources:
        values: dict[str, Any] = text_columns(source, "title", *Point.PARTS)
        values |= {
            "topic_id": topics[source.topic],
            "position": source.position,
            "covers": source.covers,
            "status": source.status,
        }
        Point.objects.update_or_create(slug=source.slug, defaults=values)
    points = Point.objects.in_bulk(field_name="slug")
    for source in sources:
        points[source.slug].prerequisites.set([points[slug] for slug in source.prerequisites])


def load_points() -> list[PointSource]:
    return [
        PointSource(
            slug=row.slug,
            topic=row.topic.slug,
            position=row.position,
            prerequisites=sorted(point.slug for point in row.prerequisites.all()),
            covers=row.covers,
            status=row.status,
            **texts_of_row(row, "title", *Point.PARTS),
        )
        for row in Point.objects.select_related("topic").prefetch_related("prerequisites")
    ]


def check_points(items: Items) -> Iterator[Problem]:
    for item in items["points"]:
        yield from check_known(items, item, "topic", item.source.topic, "topic")
        for slug in item.source.prerequisites:
            yield from check_known(items, item, "prerequisites", slug, "point")
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
    ContentType("topics", TopicSource, save_topics, load_topics, remove_topics, file="topics.yaml", order=10),
    ContentType(
        "references",
        ReferenceSource,
        save_references,
        load_references,
        remove_references,
        file="references.yaml",
        sort_key=lambda source: source.key,
        key="key",
        inline="reference",
        order=20,
    ),
    ContentType(
        "points",
        PointSource,
        save_points,
        load_points,
        remove_points,
        folder="points",
        path=lambda source: f"points/{source.topic}/{source.slug}.yaml",
        check=check_points,
        inline="point",
        prose=frozenset(Point.PARTS),
        order=30,
    ),
]
