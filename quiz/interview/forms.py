from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from kb.models import Topic
from kb.text import pick
from quiz.forms import fresh_token
from quiz.interview.options import MINUTES, MOST_QUESTIONS, InterviewOptions
from quiz.queries import root_questions

BY_COUNT = "questions"
LEVELS = [
    (1, _("1 – junior")),
    (2, _("2 – junior to middle")),
    (3, _("3 – middle")),
    (4, _("4 – senior")),
    (5, _("5 – staff")),
]


def _lengths() -> list[tuple[str, str]]:
    minutes = [(str(n), ngettext("%(n)s minute", "%(n)s minutes", n) % {"n": n}) for n in MINUTES]
    return [*minutes, (BY_COUNT, gettext("a number of questions"))]


class StartForm(forms.Form):
    """How long, how hard, about what."""

    token = forms.UUIDField(widget=forms.HiddenInput)
    length = forms.ChoiceField(label=_("Length"), choices=_lengths)
    questions = forms.IntegerField(
        label=_("Number of questions"),
        help_text=_("Only where the length is a number of questions; follow-ups come on top."),
        min_value=1,
        max_value=MOST_QUESTIONS,
        required=False,
    )
    level = forms.TypedChoiceField(
        label=_("Level to begin with"),
        help_text=_("It goes up after a success and down after a failure."),
        choices=LEVELS,
        coerce=int,
    )
    topics = forms.MultipleChoiceField(
        label=_("Topics"),
        help_text=_("None means all of them."),
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    clock = forms.BooleanField(label=_("Show a clock for each question"), required=False)
    grader = forms.BooleanField(
        label=_("Ask this site's grader for advice: what I type is sent to the service that its operator chose"),
        required=False,
    )

    def __init__(self, data: Any = None) -> None:
        initial = {"token": fresh_token(), "length": "30", "questions": 4, "level": 3, "clock": True}
        super().__init__(data, initial=initial)
        topics = Topic.objects.filter(questions__in=root_questions()).distinct()
        self.fields["topics"].choices = [(topic.slug, pick(topic, "title")) for topic in topics]  # type: ignore[attr-defined]
        if not settings.GRADER_URL:
            del self.fields["grader"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("length") == BY_COUNT and not cleaned.get("questions") and "questions" not in self.errors:
            self.add_error("questions", _("Say how many questions, from 1 to %(most)s.") % {"most": MOST_QUESTIONS})
        return cleaned

    def options(self) -> InterviewOptions:
        cleaned = self.cleaned_data
        by_count = cleaned["length"] == BY_COUNT
        return InterviewOptions(
            minutes=None if by_count else int(cleaned["length"]),
            questions=cleaned["questions"] if by_count else None,
            level=cleaned["level"],
            topics=cleaned["topics"],
            clock=cleaned["clock"],
            grader=cleaned.get("grader", False),
        )
