"""Reads that pages share."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet

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


def point_by_slug(slug: str, *, with_drafts: bool = False) -> QuerySet[Point]:
    """The point with its published neighbours and the claims that it shows; editors see it before it is published."""
    rows = Point.objects.all() if with_drafts else published_points()
    near = (Prefetch(name, queryset=published_points()) for name in ("prerequisites", "leads_to"))
    return rows.filter(slug=slug).select_related("topic").prefetch_related(*near, "claims")


def reading_order() -> list[Point]:
    """All published points: topic by topic, but each after its prerequisites. Two queries."""
    points = {p.pk: p for p in published_points().only("slug", "title_en", "title_zh", "topic", "position")}
    before: dict[int, list[int]] = {pk: [] for pk in points}
    links = Point.prerequisites.through.objects.filter(from_point__in=points, to_point__in=points)
    for later, earlier in links.values_list("from_point_id", "to_point_id"):
        before[later].append(earlier)
    ordered: dict[int, Point] = {}

    def place(pk: int) -> None:
        if pk not in ordered:
            for earlier in sorted(before[pk], key=list(points).index):
                place(earlier)
            ordered[pk] = points[pk]

    for pk in points:
        place(pk)
    return list(ordered.values())


def neighbours(point: Point) -> tuple[Point | None, Point | None]:
    """What comes before and after a point in reading order."""
    order = reading_order()
    if point not in order:  # a draft
        return None, None
    place = order.index(point)
    return (order[place - 1] if place else None), (order[place + 1] if place + 1 < len(order) else None)


def references() -> QuerySet[Reference]:
    return Reference.objects.order_by("authors", "year")
