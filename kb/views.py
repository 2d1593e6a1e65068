from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from kb.models import Point, Topic
from kb.queries import point_by_slug, references, resolver_for, topics_with_counts


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/home.html", {"topics": topics_with_counts()})


def topics(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/topics.html", {"topics": topics_with_counts()})


def topic(request: HttpRequest, slug: str) -> HttpResponse:
    """One topic: its points, and what other apps show through their `topic` relation (questions, claims)."""
    topic = get_object_or_404(Topic, slug=slug)
    return render(request, "kb/topic.html", {"topic": topic, "resolver": resolver_for((topic, ["summary"]))})


def point(request: HttpRequest, slug: str) -> HttpResponse:
    point = get_object_or_404(point_by_slug(slug))
    context = {"point": point, "parts": Point.PARTS, "resolver": resolver_for((point, Point.PARTS))}
    return render(request, "kb/point.html", context)


def reference_list(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/references.html", {"references": references()})
