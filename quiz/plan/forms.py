from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from kb.models import Topic
from kb.text import pick
from quiz.models import StudySettings
from quiz.plan.services import check_date


class TopicsField(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return pick(obj, "title")


class WishForm(forms.Form):
    """The day of the interview, what it is about, and how long a day may take."""

    interview_date = forms.DateField(
        label=_("Interview date"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    minutes = forms.IntegerField(
        label=_("Minutes a day"),
        help_text=_("What you can spend on most days. The plan stays within it."),
        min_value=1,
        max_value=720,
    )
    topics = TopicsField(
        label=_("Topics"),
        help_text=_("None chosen means all of them. The daily review uses the same choice."),
        queryset=Topic.objects.filter(questions__isnull=False).distinct(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )

    def __init__(self, s: StudySettings, data: Any = None) -> None:
        initial = {"interview_date": s.interview_date, "minutes": s.minutes_per_day, "topics": s.topics.all()}
        super().__init__(data, initial=initial)
        self.settings = s

    def clean_interview_date(self) -> date:
        wanted: date = self.cleaned_data["interview_date"]
        check_date(wanted, self.settings)
        return wanted


class UseForm(forms.Form):
    digest = forms.CharField(max_length=64)
    choice = forms.IntegerField()


class CutForm(forms.Form):
    digest = forms.CharField(max_length=64)
