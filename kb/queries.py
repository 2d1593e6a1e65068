"""Reads that pages share."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, QuerySet

from kb.markup import Resolver
from kb.models import Point, Reference, Topic
from kb.text import active_language, pick


def topics_with_counts() -> QuerySet[Topic]:
    """Topics in reading order, each with `point_count`."""
    return Topic.objects.annotate(point_count=Count("points")).order_by("position", "slug")  # GROUP BY drops Meta's


def resolver_for(*texts: tuple[Any, Iterable[str]]) -> Resolver:
    """A resolver that has loaded all chips and links of the given (object, fields) pairs, one query a kind."""
    resolver = Resolver(active_language())
    resolver.prepare(pick(obj, field) for obj, fields in texts for field in fields)
    return resolver


def point_by_slug(slug: str) -> QuerySet[Point]:
    shown = ("prerequisites", "leads_to", "questions")
    return Point.objects.filter(slug=slug).select_related("topic").prefetch_related(*shown)


def references() -> QuerySet[Reference]:
    return Reference.objects.order_by("authors", "year")
