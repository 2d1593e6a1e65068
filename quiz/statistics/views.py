from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from kb.http import SignedInRequest
from quiz.review.days import day_of
from quiz.review.services import study_settings
from quiz.statistics.forms import wish_from
from quiz.statistics.page import AHEAD, PERIODS, make_page
from quiz.statistics.queries import records_of


@require_safe
@login_required
def statistics(request: SignedInRequest) -> HttpResponse:
    """The learner's own statistics."""
    now, s = timezone.now(), study_settings(request.user)
    wish = wish_from(request.GET, day_of(now, s).year)
    page = make_page(records_of(request.user), s, wish, now)
    context = {"page": page, "wish": wish, "aheads": AHEAD, "periods": PERIODS}
    return render(request, "statistics/statistics.html", context)
