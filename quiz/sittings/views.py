import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST, require_safe

from kb.http import SignedInRequest
from kb.markup import Resolver
from kb.text import active_language, pick
from quiz.asking import ask, assess
from quiz.forms import AnswerForm, answer_form
from quiz.models import Question, Sitting, Turn
from quiz.queries import resolver_for_question
from quiz.review.services import question_to_review
from quiz.sittings.calibration import calibration, calibration_chart
from quiz.sittings.forms import BuildForm, CertaintyForm, MarkForm, build_initial, draft_certainty, draft_form
from quiz.sittings.matching import proposed_points
from quiz.sittings.options import QuizOptions
from quiz.sittings.queries import (
    sitting_for_user,
    sittings_of,
    sure_answers,
    turn_for_user,
    turns_of,
    turns_with_answers,
)
from quiz.sittings.report import Report, report
from quiz.sittings.running import is_unmarked, next_turn, options_of, quiz_answer, quiz_mark
from quiz.sittings.selection import draw_questions, questions_matching
from quiz.sittings.services import (
    AlreadyAnswered,
    NotAnswered,
    NotYourSitting,
    SittingFinished,
    TooLong,
    sitting_finish,
    sitting_start,
    turn_asked,
    turn_draft,
)
from quiz.texts import ANSWER_FIELDS

PAGE_SIZE = 25
NOT_DRAFTED = ("csrfmiddlewaretoken", "token", "after")


# --- history and building ---------------------------------------------------------------------------------------------


@require_safe
@login_required
def sittings(request: SignedInRequest) -> HttpResponse:
    """The history, and how sure against how right over everything."""
    page = Paginator(sittings_of(request.user), PAGE_SIZE).get_page(request.GET.get("page"))
    levels = calibration(sure_answers(request.user))
    chart = calibration_chart(levels) if levels else ""
    return render(request, "sittings/sittings.html", {"page": page, "levels": levels, "chart": chart})


@require_safe
@login_required
def new(request: SignedInRequest) -> HttpResponse:
    return render(request, "sittings/new.html", {"form": BuildForm(initial=build_initial(request.GET))})


@require_GET
@login_required
def count(request: SignedInRequest) -> HttpResponse:
    """How many questions fit what is chosen, as a fragment of the form."""
    form = BuildForm(request.GET)
    fitting = None
    if form.is_valid():
        fitting = questions_matching(request.user, form.options(), active_language()).count()
    return render(request, "sittings/_count.html", {"fitting": fitting})


@require_POST
@login_required
def start(request: SignedInRequest) -> HttpResponse:
    form = BuildForm(request.POST)
    if not form.is_valid():
        return render(request, "sittings/new.html", {"form": form}, status=422)
    options, token = form.options(), form.cleaned_data["token"]
    questions = draw_questions(request.user, options, active_language(), str(token))
    if not questions:
        form.add_error(None, _("No question fits all of this. Leave something out, or choose more."))
        return render(request, "sittings/new.html", {"form": form}, status=422)
    return _start(request, options, questions, token)


def _start(request: SignedInRequest, options: QuizOptions, questions: list[Question], token: uuid.UUID) -> HttpResponse:
    try:
        sitting = sitting_start(
            user=request.user, kind=Sitting.QUIZ, options=options.as_json(), questions=questions, token=token
        )
    except NotYourSitting as e:
        raise BadRequest(str(e)) from e
    if len(questions) < options.count:
        fewer = ngettext("Only %(n)s question fits.", "Only %(n)s questions fit.", len(questions))
        messages.info(request, fewer % {"n": len(questions)})
    return redirect(sitting)


# --- the pages of one quiz --------------------------------------------------------------------------------------------


@require_safe
@login_required
def quiz(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    """Where the learner left off: the next question or marking; the report once it is finished."""
    sitting = sitting_for_user(request.user, sitting_id)
    if sitting.finished_at:
        return _report_page(request, sitting)
    following = next_turn(turns_of(sitting), options_of(sitting).feedback)
    if following is None:
        return _report_page(request, sitting)
    return _turn_page(request, turn_for_user(request.user, sitting_id, following.pk))


@require_safe
@login_required
def turn(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """One question of the quiz: to answer, or with its answer."""
    return _turn_page(request, turn_for_user(request.user, sitting_id, turn_id))


def _turn_page(
    request: HttpRequest,
    turn: Turn,
    *,
    form: AnswerForm | None = None,
    certainty_form: CertaintyForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    options = options_of(turn.sitting)
    asked = ask(turn.question, str(turn.token), turn.attempt.drawn if turn.attempt else None)
    context: dict[str, Any] = {
        "sitting": turn.sitting,
        "turn": turn,
        "turns": turns_of(turn.sitting),
        "options": options,
        "asked": asked,
        "question": asked.question,
        "error": error,
        "resolver": resolver_for_question(asked.question),
    }
    if turn.attempt and form is None:
        return render(request, "sittings/answered.html", context | _answered(turn, options), status=status)
    if turn.sitting.finished_at is None:
        turn_asked(turn)
    context["form"] = form or draft_form(asked, turn.draft)
    if options.certainty:
        context["certainty_form"] = certainty_form or draft_certainty(turn.draft)
    return render(request, "sittings/turn.html", context, status=status)


def _answered(turn: Turn, options: QuizOptions) -> dict[str, Any]:
    """What the page of an answered turn shows: nothing of the answer before its time."""
    assert turn.attempt is not None  # noqa: S101 (for mypy)
    turns = turns_of(turn.sitting)
    are_answers_in = options.feedback == "immediate" or all(t.attempt for t in turns) or turn.sitting.finished_at
    unmarked = is_unmarked(turn)
    made = proposed_points(turn.question, turn.attempt.typed) if unmarked else turn.attempt.made_points
    asked = ask(turn.question, str(turn.token), turn.attempt.drawn)
    return {
        "attempt": turn.attempt,
        "is_shown": bool(are_answers_in),
        "assessment": assess(asked, turn.attempt.given) if are_answers_in else None,
        "is_unmarked": unmarked,
        "made": made,
        "is_proposed": unmarked and bool(made),
        "following": next_turn([t for t in turns if t.pk != turn.pk], options.feedback),
    }


# --- answering --------------------------------------------------------------------------------------------------------


@require_POST
def answer(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """Keep the answer and go on.

    Without login_required: its redirect would throw away what was typed when a session has ended meanwhile.
    """
    if not request.user.is_authenticated:
        context = {"typed": _typed(request), "back": reverse("quiz-quiz", args=[sitting_id])}
        return render(request, "sittings/signed_out.html", context, status=401)
    turn = turn_for_user(request.user, sitting_id, turn_id)
    posted = request.POST.copy()
    form = answer_form(ask(turn.question, str(turn.token)), posted)
    certainty = CertaintyForm(request.POST) if options_of(turn.sitting).certainty else None
    shown: dict[str, Any] = {"form": form, "certainty_form": certainty}
    if not form.is_valid() or (certainty and not certainty.is_valid()):
        return _turn_page(request, turn, **shown, status=422)
    if form.cleaned_data["token"] != turn.token:
        error = _("This form belongs to another question. Your answer is still here; send it again.")
        posted["token"] = str(turn.token)
        return _turn_page(request, turn, **shown, error=error, status=409)
    try:
        quiz_answer(
            turn=turn,
            typed=form.cleaned_data.get("typed", ""),
            given=form.given(),
            certainty=certainty.cleaned_data["certainty"] if certainty else None,
            milliseconds=_since_asked(turn),
        )
    except (AlreadyAnswered, SittingFinished) as e:
        return _turn_page(request, turn, **shown, error=str(e), status=409)
    is_shown_now = options_of(turn.sitting).feedback == "immediate"
    return redirect("quiz-sittings-turn", sitting_id, turn_id) if is_shown_now else redirect(turn.sitting)


def _typed(request: HttpRequest) -> str:
    """What the form held, in words, for somebody who has to sign in first."""
    return "\n".join(value for name in request.POST if name not in NOT_DRAFTED for value in request.POST.getlist(name))


def _since_asked(turn: Turn) -> int:
    return int((timezone.now() - turn.asked_at).total_seconds() * 1000) if turn.asked_at else 0


@require_POST
@login_required
def draft(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    """Keep what is typed so far; as a fragment for htmx, else on the way out."""
    turn = turn_for_user(request.user, sitting_id, turn_id)
    data = {name: request.POST.getlist(name) for name in request.POST if name not in NOT_DRAFTED}
    error = ""
    try:
        turn_draft(turn, data)
    except (TooLong, SittingFinished) as e:
        error = str(e)
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "sittings/_draft.html", {"error": error, "saved_at": timezone.now()})
    if error:
        form = answer_form(ask(turn.question, str(turn.token)), request.POST)
        return _turn_page(request, turn, form=form, error=error, status=422)
    messages.success(request, _("Saved. Go on whenever you like, on any device."))
    return redirect("quiz-sittings")


@require_POST
@login_required
def mark(request: SignedInRequest, sitting_id: int, turn_id: int) -> HttpResponse:
    turn = turn_for_user(request.user, sitting_id, turn_id)
    form = MarkForm(turn.question, request.POST)
    if not form.is_valid():
        return _turn_page(request, turn, error=" ".join(map(str, form.errors["made"])), status=422)
    try:
        quiz_mark(turn=turn, made=form.cleaned_data["made"])
    except (NotAnswered, SittingFinished, ValueError) as e:
        return _turn_page(request, turn, error=str(e), status=409)
    return redirect(turn.sitting)


# --- the end ----------------------------------------------------------------------------------------------------------


@require_POST
@login_required
def finish(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    return redirect(sitting_finish(sitting_for_user(request.user, sitting_id)))


def _report_page(request: HttpRequest, sitting: Sitting) -> HttpResponse:
    result = report(turns_with_answers(sitting))
    rows = [_row(turn) for turn in result.turns]
    context = {
        "sitting": sitting,
        "options": options_of(sitting),
        "report": result,
        "rows": rows,
        "chart": calibration_chart(result.levels) if result.levels else "",
        "again": uuid.uuid4(),
        "resolver": _report_resolver([row["question"] for row in rows]),
    }
    return render(request, "sittings/report.html", context)


def _row(turn: Turn) -> dict[str, Any]:
    attempt = turn.attempt
    asked = ask(turn.question, str(turn.token), attempt.drawn if attempt else None)
    return {
        "turn": turn,
        "attempt": attempt,
        "asked": asked,
        "question": asked.question,
        "assessment": assess(asked, attempt.given) if attempt else None,
        "missed": [p for p in turn.question.rubric.all() if attempt and p.position not in attempt.made_points],
    }


def _report_resolver(questions: list[Question]) -> Resolver:
    resolver = Resolver(active_language())
    texts = [pick(question, field) for question in questions for field in ANSWER_FIELDS]
    texts += [pick(point, "text") for question in questions for point in question.rubric.all()]
    texts += [
        pick(c, field) for question in questions for c in question.choices.all() for field in ("text", "feedback")
    ]
    resolver.prepare(texts)
    return resolver


def _mistakes(request: SignedInRequest, sitting_id: int) -> tuple[Sitting, Report]:
    sitting = sitting_for_user(request.user, sitting_id)
    return sitting, report(turns_with_answers(sitting))


@require_POST
@login_required
def review(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    """Make the cards of the mistakes due today."""
    sitting, result = _mistakes(request, sitting_id)
    for turn in result.mistakes:
        question_to_review(request.user, turn.question)
    n = len(result.mistakes)
    message = ngettext("%(n)s question is in today's review.", "%(n)s questions are in today's review.", n)
    messages.success(request, message % {"n": n})
    return redirect(sitting)


@require_POST
@login_required
def again(request: SignedInRequest, sitting_id: int) -> HttpResponse:
    """A new quiz of the mistakes, with the same settings."""
    sitting, result = _mistakes(request, sitting_id)
    questions = list({turn.question.pk: turn.question for turn in result.mistakes}.values())
    if not questions:
        messages.info(request, _("There is no mistake to repeat."))
        return redirect(sitting)
    try:
        token = uuid.UUID(request.POST.get("token", ""))
    except ValueError as e:
        raise BadRequest(_("The form has no valid token; load the page again.")) from e
    slugs = [question.slug for question in questions]
    options = options_of(sitting).model_copy(update={"questions": slugs, "count": len(slugs)})
    return _start(request, options, questions, token)
