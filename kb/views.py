from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from kb.forms import SearchForm
from kb.models import Point, Topic
from kb.queries import (
    PUBLISHED,
    neighbours,
    point_by_slug,
    published_points,
    references,
    resolver_for,
    topics_with_counts,
)
from kb.text import active_language, pick


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/home.html", {"topics": topics_with_counts()})


@require_safe
def topics(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/topics.html", {"topics": topics_with_counts()})


@require_safe
def topic(request: HttpRequest, slug: str) -> HttpResponse:
    """One topic: its points, and the questions that refer to it (not the follow-ups: those have a parent)."""
    topic = get_object_or_404(Topic, slug=slug)
    questions = topic.questions.filter(PUBLISHED, parent=None)
    points = published_points().filter(topic=topic)
    resolver = resolver_for((topic, ["summary"]), *((question, ["prompt"]) for question in questions))
    return render(
        request, "kb/topic.html", {"topic": topic, "points": points, "questions": questions, "resolver": resolver}
    )


@require_safe
def point(request: HttpRequest, slug: str) -> HttpResponse:
    """A point with its contents, its place in the reading order, and what refers to it."""
    point = get_object_or_404(point_by_slug(slug, with_drafts=request.user.is_staff))
    questions = point.questions.filter(PUBLISHED)
    asked = ((question, ["prompt"]) for question in questions)
    proved = ((claim, ["statement"]) for claim in point.claims.all())
    previous, following = neighbours(point)
    context = {
        "point": point,
        "parts": [part for part in Point.PARTS if pick(point, part)],
        "questions": questions,
        "previous": previous,
        "following": following,
        "resolver": resolver_for((point, Point.PARTS), *asked, *proved),
    }
    return render(request, "kb/point.html", context)


@require_safe
def glossary(request: HttpRequest) -> HttpResponse:
    """Every point's name in both languages with its definition: the terms of the field."""
    points = sorted(published_points().select_related("topic"), key=lambda point: point.title_en.casefold())
    resolver = resolver_for(*((point, ["definition"]) for point in points))
    return render(request, "kb/glossary.html", {"points": points, "resolver": resolver})


@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """Results as a page, or as a fragment while somebody types."""
    form = SearchForm(request.GET)
    hits = form.hits(active_language()) if form.is_valid() else []
    template = "kb/_hits.html" if request.htmx else "kb/search.html"  # type: ignore[attr-defined]
    return render(request, template, {"form": form, "hits": hits})


@require_safe
def reference_list(request: HttpRequest) -> HttpResponse:
    return render(request, "kb/references.html", {"references": references()})
