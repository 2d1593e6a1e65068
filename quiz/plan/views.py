from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from quiz.plan.forms import CutForm, UseForm, WishForm
from quiz.plan.presenting import present
from quiz.plan.services import StalePlan, is_planned, plan_cut, plan_forget, plan_today, plan_use, plan_wish
from quiz.review.services import study_settings


def _plan_page(
    request: SignedInRequest, *, form: WishForm | None = None, error: str = "", status: int = 200
) -> HttpResponse:
    s = study_settings(request.user)
    row = plan_today(request.user)
    context: dict[str, Any] = {
        "form": form or WishForm(s),
        "error": error,
        "settings": s,
        "row": row,
        "shown": present(row, s) if row else None,
        "has_passed": s.interview_date is not None and not is_planned(s),
    }
    return render(request, "plan/plan.html", context, status=status)


@require_safe
@login_required
def plan(request: SignedInRequest) -> HttpResponse:
    """The date, today's share, what to expect on the day, and what to cut when time is short."""
    return _plan_page(request)


@require_POST
@login_required
def wish(request: SignedInRequest) -> HttpResponse:
    form = WishForm(study_settings(request.user), request.POST)
    if not form.is_valid():
        return _plan_page(request, form=form, status=422)
    wanted = form.cleaned_data
    plan_wish(request.user, interview_date=wanted["interview_date"], minutes=wanted["minutes"], topics=wanted["topics"])
    return redirect("plan")


@require_POST
@login_required
def forget(request: SignedInRequest) -> HttpResponse:
    plan_forget(request.user)
    return redirect("plan")


def _changed(request: SignedInRequest, change: Callable[[], object], done: str) -> HttpResponse:
    """Do what a form of the plan asks; show the page again with the reason where it cannot be done."""
    try:
        change()
    except StalePlan as e:
        return _plan_page(request, error=str(e), status=409)
    except ValueError as e:
        return _plan_page(request, error=str(e), status=422)
    messages.success(request, done)
    return redirect("plan")


@require_POST
@login_required
def use(request: SignedInRequest) -> HttpResponse:
    """Take the daily limits and the retention from the plan."""
    form = UseForm(request.POST)
    if not form.is_valid():
        return _plan_page(request, error=form.errors.as_text(), status=422)
    wanted = form.cleaned_data
    done = _("The daily review now follows the plan.")
    return _changed(request, lambda: plan_use(request.user, **wanted), done)


@require_POST
@login_required
def cut(request: SignedInRequest) -> HttpResponse:
    """Leave out the topics that the plan names."""
    form = CutForm(request.POST)
    if not form.is_valid():
        return _plan_page(request, error=form.errors.as_text(), status=422)
    done = _("These topics are no longer asked. Their cards and what you know of them are kept.")
    return _changed(request, lambda: plan_cut(request.user, **form.cleaned_data), done)
