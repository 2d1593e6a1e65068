from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from kb.queries import resolver_for
from quiz.asking import ask, assess
from quiz.forms import AnswerForm, GradeForm, answer_form, fresh_token
from quiz.models import Attempt, Turn
from quiz.queries import attempt_for_user, question_by_slug, resolver_for_question, topics_with_questions
from quiz.services import AlreadyGraded, NotYourAttempt, attempt_grade, attempt_start


@require_safe
def questions(request: HttpRequest) -> HttpResponse:
    topics = topics_with_questions()
    listed = ((question, ["prompt"]) for topic in topics for question in topic.root_questions)  # type: ignore[attr-defined]
    return render(request, "quiz/questions.html", {"topics": topics, "resolver": resolver_for(*listed)})


def _question_page(request: HttpRequest, form: AnswerForm, status: int = 200) -> HttpResponse:
    question = form.asked.question
    context = {"question": question, "form": form, "resolver": resolver_for_question(question)}
    return render(request, "quiz/question.html", context, status=status)


@require_safe
def question(request: HttpRequest, slug: str) -> HttpResponse:
    """The prompt, with a form to answer it for those who are signed in."""
    asked = ask(question_by_slug(slug), fresh_token())
    return _question_page(request, answer_form(asked, after=request.GET.get("after", "")))


@require_safe
def answer(request: HttpRequest, slug: str) -> HttpResponse:
    """The answer to read, without practising; a parametric question shows one draw, always the same."""
    question = ask(question_by_slug(slug, with_drafts=request.user.is_staff), slug).question
    return render(request, "quiz/answer.html", {"question": question, "resolver": resolver_for_question(question)})


@require_POST
def reveal(request: SignedInRequest, slug: str) -> HttpResponse:
    """Keep the answer and show the model answer beside it.

    Without login_required: its redirect would throw away what was typed when a session has ended meanwhile.
    """
    row = question_by_slug(slug)
    form = answer_form(ask(row, request.POST.get("token", "")), request.POST)
    if not request.user.is_authenticated:
        form.add_error(None, _("You are signed out. Your answer is still here: copy it, sign in, and send it again."))
        return _question_page(request, form, status=401)
    if not form.is_valid():
        return _question_page(request, form, status=422)
    after = form.cleaned_data["after"]
    try:
        attempt = attempt_start(
            user=request.user,
            question=row,
            token=form.cleaned_data["token"],
            typed=form.cleaned_data.get("typed", ""),
            given=form.given(),
            after=attempt_for_user(request.user, after) if after else None,
        )
    except NotYourAttempt as e:
        raise BadRequest(str(e)) from e
    return redirect(attempt)


def _attempt_page(
    request: HttpRequest, attempt: Attempt, *, form: GradeForm | None = None, error: str = "", status: int = 200
) -> HttpResponse:
    """The answer beside the learner's own; a parametric question shows the numbers of this attempt."""
    asked = ask(attempt.question, str(attempt.token), attempt.drawn)
    context: dict[str, Any] = {
        "attempt": attempt,
        "asked": asked,
        "assessment": assess(asked, attempt.given),
        "question": asked.question,
        "grades": Attempt.GRADES,
        "form": form or GradeForm(attempt.question),
        "error": error,
        "resolver": resolver_for_question(asked.question),
    }
    return render(request, "quiz/attempt.html", context, status=status)


@require_safe
@login_required
def attempt(request: SignedInRequest, attempt_id: int) -> HttpResponse:
    """The answer beside the learner's own, the rubric to tick off, and after the grade the follow-ups."""
    attempt = attempt_for_user(request.user, attempt_id)
    return _to_sitting(attempt) or _attempt_page(request, attempt)


def _to_sitting(attempt: Attempt) -> HttpResponse | None:
    """An answer given in a quiz or an interview is shown and marked there, and not before its time."""
    turn = Turn.objects.filter(attempt=attempt).select_related("sitting").first()
    return redirect(turn.sitting) if turn else None


@require_POST
@login_required
def grade(request: SignedInRequest, attempt_id: int) -> HttpResponse:
    attempt = attempt_for_user(request.user, attempt_id)
    if elsewhere := _to_sitting(attempt):
        return elsewhere
    form = GradeForm(attempt.question, request.POST)
    if not form.is_valid():
        return _attempt_page(request, attempt, form=form, status=422)
    try:
        attempt_grade(attempt=attempt, made=form.cleaned_data["made"], grade=form.cleaned_data["grade"])
    except AlreadyGraded as e:
        return _attempt_page(request, attempt, error=str(e), status=409)
    return redirect(attempt)
