"""Fitting the parameters: ask for it, see what it brings, apply it."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from quiz.models import DayTally, Optimisation
from quiz.review.services import study_settings
from quiz.statistics.optimising import (
    LEAST_REVIEWS,
    NothingToApply,
    is_better,
    optimisation_apply,
    optimisation_for_user,
    optimisation_start,
    reason_text,
)

SHOWN = 5


def _context(request: SignedInRequest) -> dict[str, Any]:
    found = list(Optimisation.objects.filter(owner=request.user)[:SHOWN])
    rows = [{"fit": one, "reason": reason_text(one), "is_better": is_better(one)} for one in found]
    return {"rows": rows, "is_live": any(one.status in Optimisation.LIVE for one in found)}


def _parameters_page(request: SignedInRequest, *, error: str = "", status: int = 200) -> HttpResponse:
    tallies = DayTally.objects.filter(owner=request.user)
    context = {
        **_context(request),
        "error": error,
        "scheduling": study_settings(request.user).scheduling,
        "reviews": sum(young + mature for young, mature in tallies.values_list("young", "mature")),
        "needed": LEAST_REVIEWS,
    }
    return render(request, "statistics/parameters.html", context, status=status)


@require_safe
@login_required
def parameters(request: SignedInRequest) -> HttpResponse:
    return _parameters_page(request)


@require_safe
@login_required
def parameters_live(request: SignedInRequest) -> HttpResponse:
    """The fits alone, asked for again while one is running."""
    return render(request, "statistics/_fits.html", _context(request))


@require_POST
@login_required
def optimise(request: SignedInRequest) -> HttpResponse:
    """One at a time: asked for twice, it is the same fit."""
    optimisation_start(request.user)
    return redirect("statistics-parameters")


@require_POST
@login_required
def apply(request: SignedInRequest, optimisation_id: int) -> HttpResponse:
    found = optimisation_for_user(request.user, optimisation_id)
    try:
        optimisation_apply(request.user, found, reschedule="reschedule" in request.POST)
    except NothingToApply as e:
        return _parameters_page(request, error=str(e), status=409)
    messages.success(request, _("The fitted parameters are in use."))
    return redirect("statistics-parameters")
