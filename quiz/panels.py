"""What of the questions waits for the editors."""

from django.db.models import Avg, Count
from django.utils.translation import gettext as _

from kb.editing.dashboard import SHOWN, Panel, change_url, panel, without_a_language
from kb.models import Status
from quiz.mistakes import PASSED
from quiz.models import Question

# A question counts as failed when so many answers reach less than PASSED on average.
LEAST_ANSWERS = 3


def untranslated_questions() -> Panel:
    rows = Question.objects.exclude(status=Status.RETIRED)
    return panel(_("Questions without a language"), without_a_language(rows, ("prompt", "short", "answer", "when")))


def waiting_questions() -> Panel:
    rows = Question.objects.filter(parent=None, status__in=[Status.DRAFT, Status.REVIEW])
    return panel(_("Questions not published yet"), rows)


def failed_questions() -> Panel:
    """Worst first, by the mean score of all answers."""
    scored = Question.objects.filter(attempts__score__isnull=False)
    rows = scored.annotate(n=Count("attempts"), mean=Avg("attempts__score")).order_by("mean", "slug")
    failed = rows.filter(n__gte=LEAST_ANSWERS, mean__lt=PASSED)
    shown = [(f"{row.slug} · {row.mean:.0%} · n = {row.n}", change_url(row)) for row in failed[:SHOWN]]
    return Panel(_("Most-failed questions"), failed.count(), shown)
