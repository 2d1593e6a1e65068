"""The pages of the review. Every button is a form, so that a day's review needs no JavaScript.

With htmx a grade is answered with the next card itself; without it, with a redirect to the page that shows it.
"""

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from kb.http import SignedInRequest
from kb.models import Topic
from quiz.forms import fresh_token
from quiz.models import Attempt, Card, ReviewEvent, StudySettings
from quiz.review import services
from quiz.review.forms import ActionForm, ExtraForm, GradeForm, SettingsForm, form_errors
from quiz.review.queries import card_for_user, extra_cards, is_asked_today
from quiz.review.queue import Queue
from quiz.review.rescheduling import reschedule, rescheduling_of
from quiz.review.showing import Shown, show, show_answered
from quiz.services import NotYourAttempt, attempt_start


@require_safe
@login_required
def home(request: SignedInRequest) -> HttpResponse:
    """What is left of today, and the ways to begin. New questions get their cards here."""
    settings = services.study_settings(request.user)
    services.cards_sync(request.user)
    queue = Queue(settings)
    context = {
        "counts": queue.counts,
        "done": queue.done,
        "new_limit": queue.new_limit(),
        "review_limit": queue.review_limit(),
        "settings": settings,
        "topics": Topic.objects.all(),
        "seed": random.randint(1, 1_000_000),  # noqa: S311 (the order of a cram)
    }
    return render(request, "review/home.html", context)


# Study ----------------------------------------------------------------------------------------------------------------


def _study_page(
    request: SignedInRequest,
    *,
    shown: Shown | None = None,
    pinned: Card | None = None,
    settings: StudySettings | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    """The card in hand, or else the next one; htmx gets the card alone."""
    settings = settings or services.study_settings(request.user)
    queue = Queue(settings)
    if shown is None:
        card = pinned if pinned and is_asked_today(pinned, queue.now, settings) else queue.next()
        shown = show(card, fresh_token()) if card else None
    context: dict[str, Any] = {"counts": queue.counts, "shown": shown, "error": error, "fresh": fresh_token()}
    if shown:
        context |= shown.context() | {"buttons": shown.buttons(settings.scheduling, queue.now), "now": queue.now}
    template = "review/_study.html" if request.htmx else "review/study.html"  # type: ignore[attr-defined]
    return render(request, template, context, status=status)


def _onwards(request: SignedInRequest, card: Card | None = None, settings: StudySettings | None = None) -> HttpResponse:
    """After an action: the next card, or this one again."""
    if request.htmx:  # type: ignore[attr-defined]
        return _study_page(request, pinned=card, settings=settings)
    return redirect(reverse("review-study") + (f"?card={card.pk}" if card else ""))


def _answered(user: Any, attempt_id: str) -> Shown | None:
    """The back of the card that this attempt answered, unless it was graded meanwhile."""
    if not attempt_id.isdecimal():
        return None
    attempt = Attempt.objects.select_related("question__topic").filter(pk=int(attempt_id), owner=user).first()
    card = Card.objects.filter(owner=user, question=attempt.question).first() if attempt else None
    if attempt is None or card is None or ReviewEvent.objects.filter(token=attempt.token).exists():
        return None
    card.question = attempt.question
    return show_answered(card, attempt)


@require_safe
@login_required
def study(request: SignedInRequest) -> HttpResponse:
    """The next card; `?attempt=` shows the answer just given, `?card=` a card that was taken back."""
    pinned = request.GET.get("card", "")
    return _study_page(
        request,
        shown=_answered(request.user, request.GET.get("attempt", "")),
        pinned=card_for_user(request.user, int(pinned), "question__topic") if pinned.isdecimal() else None,
    )


@require_POST
@login_required
def answer(request: SignedInRequest, card_id: int) -> HttpResponse:
    """Keep the answer to a graded kind and show what the machine makes of it."""
    card = card_for_user(request.user, card_id, "question__topic")
    action = ActionForm(request.POST)
    if card.question is None or not action.is_valid():
        raise BadRequest(_("This form cannot be read; load the card again."))
    token: UUID = action.cleaned_data["token"]
    shown = show(card, str(token), data=request.POST)
    extra = request.POST.get("next", "")
    if shown.form is None:
        raise BadRequest(_("This card is judged by you, not by the machine."))
    if not shown.form.is_valid():
        return _study_page(request, shown=shown, status=422)
    try:
        attempt = attempt_start(user=request.user, question=card.question, token=token, given=shown.form.given())
    except NotYourAttempt as e:
        raise BadRequest(str(e)) from e
    if _is_extra(extra):
        return redirect(f"{extra}&attempt={attempt.pk}")
    if request.htmx:  # type: ignore[attr-defined]
        return _study_page(request, shown=_answered(request.user, str(attempt.pk)))
    return redirect(f"{reverse('review-study')}?attempt={attempt.pk}")


def _is_extra(url: str) -> bool:
    return url.startswith(reverse("review-extra") + "?") and url_has_allowed_host_and_scheme(url, allowed_hosts=None)


@require_POST
@login_required
def grade(request: SignedInRequest, card_id: int) -> HttpResponse:
    card = card_for_user(request.user, card_id)
    form = GradeForm(request.POST)
    if not form.is_valid():
        return _study_page(request, pinned=card, error=form_errors(form), status=422)
    given, settings = form.cleaned_data, services.study_settings(request.user)
    try:
        graded = services.card_grade(
            card=card,
            rating=given["rating"],
            token=given["token"],
            milliseconds=given["milliseconds"] or 0,
            attempt=_attempt_behind(card, given["token"]),
            seen=given["seen"],
            settings=settings,
        )
    except (services.StaleCard, services.NotYourToken) as e:
        return _study_page(request, settings=settings, error=str(e), status=409)
    if graded.is_suspended and not card.is_suspended:
        messages.warning(request, _leech_advice(graded))
    return _onwards(request, settings=settings)


def _attempt_behind(card: Card, token: UUID) -> Attempt | None:
    """The answer to a question of a graded kind that this grade follows."""
    if card.question_id is None:
        return None
    return Attempt.objects.filter(token=token, owner=card.owner_id, question=card.question_id).only("pk").first()


def _leech_advice(card: Card) -> str:
    return _(
        "Forgotten %(n)s times: this card is a leech and was suspended. Read up on it, split it, or find a picture for "
        "it; then take it back in from its page."
    ) % {"n": card.lapses}


ACTIONS: dict[str, Callable[..., Card]] = {
    "bury": services.card_bury,
    "unbury": services.card_unbury,
    "suspend": services.card_suspend,
    "unsuspend": services.card_unsuspend,
    "reset": services.card_reset,
}


@require_POST
@login_required
def action(request: SignedInRequest, card_id: int, name: str) -> HttpResponse:
    """Bury, suspend, reset and their opposites; back to the card's page when it came from there."""
    card, form = card_for_user(request.user, card_id), ActionForm(request.POST)
    if name not in ACTIONS:
        raise Http404(f"No action {name!r}")
    if not form.is_valid():
        raise BadRequest(form_errors(form))
    try:
        ACTIONS[name](card, form.cleaned_data["token"])
    except services.NotYourToken as e:
        raise BadRequest(str(e)) from e
    return redirect("review-card", card.pk) if form.cleaned_data["next"] == "card" else _onwards(request)


@require_POST
@login_required
def undo(request: SignedInRequest) -> HttpResponse:
    form = ActionForm(request.POST)
    if not form.is_valid():
        raise BadRequest(form_errors(form))
    try:
        card = services.undo(request.user, form.cleaned_data["token"])
    except services.NothingToUndo as e:
        return _study_page(request, error=str(e), status=409)
    return _onwards(request, card_for_user(request.user, card.pk))


# Beside the schedule --------------------------------------------------------------------------------------------------


@require_safe
@login_required
def extra(request: SignedInRequest) -> HttpResponse:
    """Reviewing ahead and cramming: cards one after the other, nothing of it in the log."""
    form = ExtraForm(request.GET)
    if not form.is_valid():
        raise BadRequest(form_errors(form))
    services.study_settings(request.user)
    asked_for = form.cleaned_data
    n, seed = asked_for["n"] or 0, asked_for["seed"] or 1
    topic = asked_for["topic"].slug if asked_for["topic"] else ""
    cards = extra_cards(request.user, mode=asked_for["mode"], topic=topic, seed=seed)
    found = next(iter(cards[n : n + 1]), None)
    shown = _answered(request.user, request.GET.get("attempt", "")) or (found and show(found, fresh_token()))
    here = f"{reverse('review-extra')}?mode={asked_for['mode']}&topic={topic}&seed={seed}"
    context = {
        "mode": asked_for["mode"],
        "n": n,
        "total": cards.count(),
        "here": f"{here}&n={n}",
        "following": f"{here}&n={n + 1}",
        "shown": shown,
    }
    return render(request, "review/extra.html", context | (shown.context() if shown else {}))


# Settings -------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def settings(request: SignedInRequest) -> HttpResponse:
    """How to study; "reschedule now" computes all due dates anew."""
    kept = services.study_settings(request.user)
    form = SettingsForm(request.POST or None, instance=kept)
    if not form.is_valid():
        context = {"form": form, "zones": sorted(form.zones()), "rescheduling": rescheduling_of(request.user)}
        return render(request, "review/settings.html", context, status=422 if form.is_bound else 200)
    changed = services.settings_change(request.user, **form.values())
    services.cards_sync(request.user)
    messages.success(request, _("Saved."))
    if form.cleaned_data["reschedule"]:
        moved = reschedule(request.user, changed.scheduling)
        if moved is not None:
            messages.success(request, _("Rescheduled: %(n)s cards got another date.") % {"n": moved})
    return redirect("review-settings")


@require_safe
@login_required
def rescheduling(request: SignedInRequest) -> HttpResponse:
    """How far the worker is, asked for again until it is done."""
    return render(request, "review/_rescheduling.html", {"rescheduling": rescheduling_of(request.user)})
