"""How questions do, for editors."""

import csv
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from kb.http import SignedInRequest
from quiz.models import Question
from quiz.queries import resolver_for_question
from quiz.statistics.items import LEAST_LEARNERS, Item, answered_questions, first_answers, item_of, items_of, options_of

PER_PAGE = 50
ORDERS = {
    "facility": ("facility", "slug"),
    "-facility": ("-facility", "slug"),
    "-learners": ("-learners", "slug"),
    "slug": ("slug",),
}
HEAD = ("question", "topic", "kind", "difficulty", "learners", "facility", "discrimination", "advice")

View = Callable[..., Any]


def for_editors(view: View) -> View:
    """For others the page does not exist."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_staff:
            raise Http404("Only for editors")
        return view(request, *args, **kwargs)

    return login_required(checked)


def _ordered(request: HttpRequest) -> tuple[str, QuerySet[Question]]:
    order = request.GET.get("order", "")
    order = order if order in ORDERS else "facility"
    return order, answered_questions().order_by(*ORDERS[order])


@require_safe
@for_editors
def questions(request: SignedInRequest) -> HttpResponse:
    """Facility and discrimination, a page at a time."""
    order, found = _ordered(request)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "items": items_of(list(page)), "order": order, "orders": ORDERS, "least": LEAST_LEARNERS}
    return render(request, "statistics/questions.html", context)


@require_safe
@for_editors
def question(request: SignedInRequest, slug: str) -> HttpResponse:
    """One question, with what each of its choices did."""
    rows = Question.objects.select_related("topic").prefetch_related("choices", "rubric", "follow_ups")
    found = get_object_or_404(rows, slug=slug)
    answers = first_answers([found])[found.pk]
    choices = {choice.position: choice for choice in found.choices.all()}
    context = {
        "item": item_of(found, answers),
        "question": found,
        "options": [(choices[option.position], option) for option in options_of(found, answers)],
        "least": LEAST_LEARNERS,
        "resolver": resolver_for_question(found),
    }
    return render(request, "statistics/question.html", context)


class _Line:
    """What csv.writer writes to: it hands the line back."""

    def write(self, value: str) -> str:
        return value


def _lines(found: QuerySet[Question]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(HEAD)
    paginator = Paginator(found, PER_PAGE)
    for number in paginator.page_range:
        for item in items_of(list(paginator.page(number))):
            yield writer.writerow(_cells(item))


def _cells(item: Item) -> list[object]:
    row = item.question
    figures = ["" if value is None else f"{value:.4f}" for value in (item.facility, item.discrimination)]
    return [row.slug, row.topic.slug, row.kind, row.difficulty, item.learners, *figures, item.advice]


@require_safe
@for_editors
def questions_csv(request: SignedInRequest) -> StreamingHttpResponse:
    """All questions with scored answers, as the pages show them."""
    response = StreamingHttpResponse(_lines(_ordered(request)[1]), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="question-statistics.csv"'
    return response
