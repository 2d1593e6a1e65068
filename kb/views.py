from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from kb.forms import SearchForm
from kb.models import Point, Topic
from kb.queries import PUBLISHED, point_by_slug, references, resolver_for, topics_with_counts
from kb.text import active_language


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
    resolver = resolver_for((topic, ["summary"]), *((question, ["prompt"]) for question in questions))
    return render(request, "kb/topic.html", {"topic": topic, "questions": questions, "resolver": resolver})


@require_safe
def point(request: HttpRequest, slug: str) -> HttpResponse:
    point = get_object_or_404(point_by_slug(slug))
    resolver = resolver_for((point, Point.PARTS), *((question, ["prompt"]) for question in point.questions.all()))
    return render(request, "kb/point.html", {"point": point, "parts": Point.PARTS, "resolver": resolver})


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
