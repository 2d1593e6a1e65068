"""Reads that pages share."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Q, QuerySet

from kb.markup import Resolver
from kb.models import Point, Reference, Status, Topic
from kb.text import active_language, pick

# What readers see of points and of the questions that kb reaches through its relations.
PUBLISHED = Q(status=Status.PUBLISHED)


def published_points() -> QuerySet[Point]:
    return Point.objects.filter(PUBLISHED)


def topics_with_counts() -> QuerySet[Topic]:
    """Topics in reading order, each with `point_count`."""
    counted = Topic.objects.annotate(point_count=Count("points", filter=Q(points__status=Status.PUBLISHED)))
    return counted.order_by("position", "slug")  # GROUP BY drops Meta's


def resolver_for(*texts: tuple[Any, Iterable[str]]) -> Resolver:
    """A resolver that has loaded all chips and links of the given (object, fields) pairs, one query a kind."""
    resolver = Resolver(active_language())
    resolver.prepare(pick(obj, field) for obj, fields in texts for field in fields)
    return resolver


def point_by_slug(slug: str) -> QuerySet[Point]:
    shown = ("prerequisites", "leads_to", "questions")
    return published_points().filter(slug=slug).select_related("topic").prefetch_related(*shown)


def references() -> QuerySet[Reference]:
    return Reference.objects.order_by("authors", "year")
