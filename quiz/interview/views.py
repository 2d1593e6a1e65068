from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from kb.http import SignedInRequest
from quiz.asking import ask, assess
from quiz.forms import AnswerForm, answer_form
from quiz.interview import services
from quiz.interview.charts import progress_chart
from quiz.interview.forms import StartForm
from quiz.interview.queries import (
    interview_for_user,
    interviews_of,
    options_of,
    resolver_for_turns,
    turns_of,
)
from quiz.interview.report import Report
from quiz.models import Sitting, Turn
from quiz.queries import resolver_for_question
from quiz.review.services import question_to_review
from quiz.sittings.forms import CertaintyForm, MarkForm, draft_certainty, draft_form
from quiz.sittings.matching import proposed_points
from quiz.sittings.services import AlreadyAnswered, NotYourSitting, SittingFinished, TooLong, turn_draft

# An interview a line.
PAGE_SIZE = 20
# Fields that are not part of an answer.
NOT_TYPED = {"token", "after", "certainty", "csrfmiddlewaretoken"}


def _interviews_page(request: SignedInRequest, form: StartForm, status: int = 200) -> HttpResponse:
    page = Paginator(interviews_of(request.user), PAGE_SIZE).get_page(request.GET.get("page"))
    reports = [Report(sitting, list(sitting.turns.all())) for sitting in page]
    context = {"form": form, "page": page, "reports": reports, "chart": progress_chart(reports)}
    return render(request, "interview/interviews.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def interviews(request: SignedInRequest) -> HttpResponse:
    """The form to start one, and those there were."""
    if request.method != "POST":
        return _interviews_page(request, StartForm())
    form = StartForm(request.POST)
    if not form.is_valid():
        return _interviews_page(request, form, status=422)
    try:
        sitting = services.interview_start(user=request.user, options=form.options(), token=form.cleaned_data["token"])
    except services.NoQuestion:
        form.add_error("topics", _("No question matches; choose more topics."))
        return _interviews_page(request, form, status=422)
    except NotYourSitting as e:
        raise BadRequest(str(e)) from e
    return redirect(sitting)


def _turn(sitting: Sitting, turn_id: int) -> Turn:
    turn = turns_of(sitting).filter(pk=turn_id).first()
    if turn is None:
        raise Http404(f"No turn {turn_id} in this interview")
    turn.sitting = sitting
    return turn


def _context(sitting: Sitting, turn: Turn) -> dict[str, Any]:
    """What the head of the page shows."""
    turns = list(sitting.turns.select_related("attempt", "question"))
    return {
        "sitting": sitting,
        "options": options_of(sitting),
        "turn": turn,
        "asked": ask(turn.question, str(turn.token), turn.attempt.drawn if turn.attempt else None),
        "path": [step for step in turns if step.position == turn.position],
        "seconds_used": services.seconds_used(turns),
        "seconds_left": services.seconds_left(sitting, turns),
        "milliseconds": services.milliseconds_since(turn.asked_at),
    }


def _question_page(
    request: HttpRequest,
    sitting: Sitting,
    turn: Turn,
    *,
    form: AnswerForm | None = None,
    certainty: CertaintyForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    context = _context(sitting, turn)
    question = context["asked"].question
    context |= {
        "question": question,
        "form": form or draft_form(context["asked"], turn.draft),
        "certainty_form": certainty or draft_certainty(turn.draft, is_required=False),
        "error": error,
        "resolver": resolver_for_question(question),
    }
    return render(request, "interview/question.html", context, status=status)


def _compare_page(
    request: HttpRequest, sitting: Sitting, turn: Turn, *, form: MarkForm | None = None, status: int = 200
) -> HttpResponse:
    context = _context(sitting, turn)
    question, attempt = context["asked"].question, turn.attempt
    assert attempt is not None  # noqa: S101 (for the type checker)
    made = attempt.made_points if attempt.score is not None else proposed_points(question, attempt.typed)
    context |= {
        "question": question,
        "attempt": attempt,
        "assessment": assess(context["asked"], attempt.given),
        "form": form or MarkForm(question),
        "made": made,
        "is_proposed": bool(made) and attempt.score is None,
        "resolver": resolver_for_question(question),
    }
    return render(request, "interview/compare.html", context, status=status)


@require_safe
@login_required
def interview(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    """Where the interview stands: the question that is asked, or the answer that is to be marked, or the report."""
    sitting = interview_for_user(request.user, sitting_id)
    if sitting.finished_at:
        return redirect("quiz-interview-report", sitting.pk)
    turn = turns_of(sitting).order_by("-position", "-step")[0]
    turn.sitting = sitting
    if turn.attempt:
        return _compare_page(request, sitting, turn)
    if services.is_left(turn, timezone.now()):
        return render(request, "interview/left.html", _context(sitting, turn))
    return _question_page(request, sitting, turn)


@require_POST
@login_required
def draft(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """Keep what is typed: for the page's script as it is typed, or for the learner on the way out."""
    turn = _turn(interview_for_user(request.user, sitting_id), turn_id)
    names = {*answer_form(ask(turn.question, str(turn.token))).fields, "certainty"} - {"token", "after"}
    try:
        turn_draft(turn, {name: request.POST.getlist(name) for name in sorted(names) if name in request.POST})
    except TooLong as e:
        return HttpResponse(str(e), status=413, content_type="text/plain")
    except SittingFinished as e:
        return HttpResponse(str(e), status=409, content_type="text/plain")
    if "leave" not in request.POST:
        return HttpResponse(status=204)
    messages.success(request, _("Saved. Go on whenever you like, on any device."))
    return redirect("quiz-interviews")


@require_POST
def answer(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """Keep the answer and show the model answer beside it.

    Without login_required: its redirect would throw away what was typed when a session has ended meanwhile.
    """
    if not request.user.is_authenticated:
        typed = [value for name in request.POST if name not in NOT_TYPED for value in request.POST.getlist(name)]
        context = {"typed": "\n".join(typed), "back": reverse("quiz-interview", args=[sitting_id])}
        return render(request, "sittings/signed_out.html", context, status=401)
    sitting = interview_for_user(request.user, sitting_id)
    turn = _turn(sitting, turn_id)
    form = answer_form(ask(turn.question, str(turn.token)), request.POST)
    certainty = CertaintyForm(request.POST, is_required=False)
    if not (form.is_valid() & certainty.is_valid()):
        return _question_page(request, sitting, turn, form=form, certainty=certainty, status=422)
    if form.cleaned_data["token"] != turn.token:
        raise BadRequest(_("This form belongs to another question; load the interview again."))
    try:
        services.interview_answer(
            turn=turn,
            typed=form.cleaned_data.get("typed", ""),
            given=form.given(),
            certainty=certainty.cleaned_data["certainty"],
        )
    except (AlreadyAnswered, SittingFinished):
        error = _("This question is closed: it was answered, or the interview was finished, in another tab or on "
                  "another device. What you typed here is still below, but it does not count.")  # fmt: skip
        return _question_page(request, sitting, turn, form=form, certainty=certainty, error=error, status=409)
    return redirect(sitting)


@require_POST
@login_required
def mark(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    sitting = interview_for_user(request.user, sitting_id)
    turn = _turn(sitting, turn_id)
    form = MarkForm(turn.question, request.POST)
    if turn.attempt is None:
        return redirect(sitting)
    if not form.is_valid():
        return _compare_page(request, sitting, turn, form=form, status=422)
    try:
        following = services.interview_mark(turn=turn, made=form.cleaned_data["made"])
    except SittingFinished:
        messages.warning(request, _("The interview is finished; its marks do not change any more."))
        following = None
    return redirect(sitting) if following else redirect("quiz-interview-report", sitting.pk)


@require_safe
@login_required
def advice(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """The grader's advice on one answer, or that it is still awaited: a fragment."""
    turn = _turn(interview_for_user(request.user, sitting_id), turn_id)
    context = {"turn": turn, "question": turn.question, "resolver": resolver_for_question(turn.question)}
    return render(request, "interview/_advice.html", context)


@require_POST
@login_required
def resume(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    sitting = interview_for_user(request.user, sitting_id)
    turn = sitting.turns.last()
    if turn and not sitting.finished_at:
        services.interview_resume(turn)
    return redirect(sitting)


@require_POST
@login_required
def finish(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    sitting = services.interview_finish(interview_for_user(request.user, sitting_id))
    return redirect("quiz-interview-report", sitting.pk)


@require_safe
@login_required
def report(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    sitting = interview_for_user(request.user, sitting_id)
    if not sitting.finished_at:
        return redirect(sitting)
    made = Report(sitting, list(turns_of(sitting)))
    resolver = resolver_for_turns(made.turns)
    return render(request, "interview/report.html", {"report": made, "sitting": sitting, "resolver": resolver})


@require_POST
@login_required
def review(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    """Put the ticked questions into today's review."""
    sitting = interview_for_user(request.user, sitting_id)
    wanted = {int(pk) for pk in request.POST.getlist("question") if pk.isdigit()}
    questions = [turn.question for turn in turns_of(sitting) if turn.question_id in wanted]
    with transaction.atomic():
        for question in questions:
            question_to_review(request.user, question)
    text = ngettext("%(n)s question is in your review.", "%(n)s questions are in your review.", len(questions))
    messages.success(request, text % {"n": len(questions)})
    return redirect("quiz-interview-report", sitting.pk)
