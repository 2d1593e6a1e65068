"""The browser of cards, and the page of one."""

from django.contrib.auth.decorators import login_required
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from kb.queries import resolver_for
from quiz.forms import fresh_token
from quiz.models import Card
from quiz.review import services
from quiz.review.days import day_start, today
from quiz.review.forms import ActionForm, CardFilter, DueForm, form_errors
from quiz.review.queries import card_for_user, cards_of
from quiz.review.scheduling import retrievability
from quiz.review.states import in_effect

CARDS_ON_PAGE = 50
# Events of a card's history that its page lists.
MAX_HISTORY = 200


@require_safe
@login_required
def cards(request: SignedInRequest) -> HttpResponse:
    """The browser: all cards, by state, topic and text."""
    services.study_settings(request.user)
    form = CardFilter(request.GET)
    form.is_valid()
    chosen = form.cleaned_data
    topic = chosen["topic"].slug if chosen.get("topic") else ""
    found = cards_of(request.user, state=chosen.get("state", ""), topic=topic, text=chosen.get("q", ""))
    page = Paginator(found, CARDS_ON_PAGE).get_page(request.GET.get("page"))
    prompts = [(card.question, ["prompt"]) for card in page if card.question]
    context = {
        "form": form,
        "page": page,
        "resolver": resolver_for(*prompts),
        "now": timezone.now(),
    }
    return render(request, "review/cards.html", context)


def _card_page(request: SignedInRequest, card: Card, *, form: DueForm | None = None, status: int = 200) -> HttpResponse:
    settings, now = services.study_settings(request.user), timezone.now()
    events = list(card.events.select_related("scheduling").order_by("pk"))
    counted = {event.pk for event in in_effect(events)}
    context = {
        "card": card,
        "question": card.question,
        "now": now,
        "retrievability": retrievability(card, now, settings.scheduling),
        "is_leech": card.lapses >= settings.leech_lapses,
        "is_buried": bool(card.buried_until and card.buried_until > now),
        "history": [(event, event.pk in counted) for event in events[::-1][:MAX_HISTORY]],
        "form": form or DueForm(today=today(settings)),
        "fresh": fresh_token(),
        "resolver": resolver_for(*[(card.question, ["prompt"])] if card.question else []),
    }
    return render(request, "review/card.html", context, status=status)


@require_safe
@login_required
def card(request: SignedInRequest, card_id: int) -> HttpResponse:
    """What is known of a card, its history, and everything that can be done with it."""
    return _card_page(request, card_for_user(request.user, card_id))


@require_POST
@login_required
def due(request: SignedInRequest, card_id: int) -> HttpResponse:
    card, settings = card_for_user(request.user, card_id), services.study_settings(request.user)
    form, sent = DueForm(request.POST, today=today(settings)), ActionForm(request.POST)
    if not sent.is_valid():
        raise BadRequest(form_errors(sent))
    if not form.is_valid():
        return _card_page(request, card, form=form, status=422)
    services.card_set_due(card, day_start(form.cleaned_data["day"], settings), sent.cleaned_data["token"])
    return redirect("review-card", card.pk)
