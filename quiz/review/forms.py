"""Forms of the review."""

import re
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from kb.models import Topic
from kb.text import pick
from quiz.models import StudySettings
from quiz.review.scheduling import DEFAULTS

UNITS = {"": 1, "m": 1, "h": 60, "d": 1440}
STEP = re.compile(r"(\d+(?:\.\d+)?)([mhd]?)")
MAX_STEPS = 10
MAX_STEP = 7 * 1440

CARD_STATES = [
    ("", _("All")),
    ("due", _("Due today")),
    ("new", _("New")),
    ("learning", _("Learning")),
    ("review", _("In review")),
    ("suspended", _("Suspended")),
    ("buried", _("Buried")),
    ("leech", _("Leeches")),
]


class TopicField(forms.ModelChoiceField):
    """A topic by its slug, in the reader's language."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Topic.objects.all(), to_field_name="slug", label=_("Topic"), required=False, **kwargs)

    def label_from_instance(self, topic: Any) -> str:
        return pick(topic, "title")


class TopicsField(forms.ModelMultipleChoiceField):
    """Several topics, in the reader's language."""

    def label_from_instance(self, topic: Any) -> str:
        return pick(topic, "title")


class StepsField(forms.CharField):
    """`1m 10m 1d` as minutes; a number without a unit is minutes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=100, required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return " ".join(_step_text(minutes) for minutes in value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [self._minutes(part) for part in str(value or "").replace(",", " ").split()]

    def validate(self, value: list[float]) -> None:
        if len(value) > MAX_STEPS:
            raise ValidationError(_("%(n)s steps; at most %(most)s.") % {"n": len(value), "most": MAX_STEPS})

    def run_validators(self, value: Any) -> None:
        """Those of a text do not fit a list."""

    def _minutes(self, part: str) -> float:
        match = STEP.fullmatch(part)
        minutes = float(match[1]) * UNITS[match[2]] if match else 0.0
        if not 0 < minutes <= MAX_STEP:
            raise ValidationError(_("“%(part)s” is not a step; write 30m, 2h or 1d, up to 7d.") % {"part": part[:20]})
        return int(minutes) if minutes.is_integer() else minutes


def _step_text(minutes: float) -> str:
    unit = next(unit for unit in ("d", "h", "m") if minutes % UNITS[unit] == 0 or unit == "m")
    return f"{minutes / UNITS[unit]:g}{unit}"


class SettingsForm(forms.ModelForm):
    """How to study; the scheduler's part becomes a `Scheduling`, the rest the learner's `StudySettings`."""

    desired_retention = forms.FloatField(
        label=_("Desired retention"),
        help_text=_("The share of due cards that you want to recall, 0.70 to 0.97. More means more reviews a day."),
        min_value=0.70,
        max_value=0.97,
        widget=forms.NumberInput(attrs={"step": "0.01"}),
    )
    learning_steps = StepsField(
        label=_("Learning steps"), help_text=_("Pauses before a new card enters the review, such as 1m 10m.")
    )
    relearning_steps = StepsField(label=_("Relearning steps"), help_text=_("The same after a lapse."))
    maximum_interval = forms.IntegerField(label=_("Longest interval, in days"), min_value=1, max_value=36_500)
    fuzz = forms.BooleanField(
        label=_("Spread due dates a little"),
        help_text=_("So that cards learnt together do not stay together."),
        required=False,
    )
    topics = TopicsField(
        Topic.objects.all(),
        label=_("Topics studied"),
        help_text=_("None ticked means all of them."),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    reschedule = forms.BooleanField(
        label=_("Reschedule now"),
        help_text=_("Compute all due dates anew, as if these settings had always been in force."),
        required=False,
    )

    field_order = [
        "new_per_day",
        "reviews_per_day",
        "desired_retention",
        "maximum_interval",
        "learning_steps",
        "relearning_steps",
        "leech_lapses",
        "day_starts_at",
        "time_zone",
    ]

    class Meta:
        model = StudySettings
        fields = ["new_per_day", "reviews_per_day", "leech_lapses", "day_starts_at", "time_zone", "topics"]
        labels = {
            "new_per_day": _("New cards a day"),
            "reviews_per_day": _("Reviews a day"),
            "leech_lapses": _("Lapses until a card is a leech"),
            "day_starts_at": _("The day begins at (hour)"),
            "time_zone": _("Time zone"),
        }
        help_texts = {
            "leech_lapses": _("A card forgotten so often is suspended: rewrite it, or read up on it first."),
            "time_zone": _("As in the IANA list, such as Europe/Berlin or Asia/Shanghai."),
        }
        widgets = {"time_zone": forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off"})}

    def __init__(self, data: Any = None, *, instance: StudySettings) -> None:
        kept = {name: getattr(instance.scheduling, name) for name in DEFAULTS if name in self.base_fields}
        super().__init__(data, instance=instance, initial=kept)

    def clean_time_zone(self) -> str:
        zone: str = self.cleaned_data["time_zone"]
        if zone not in available_timezones():
            raise ValidationError(_("“%(zone)s” is not a time zone.") % {"zone": zone[:64]})
        return zone

    def numbers(self) -> list[forms.BoundField]:
        return [self[name] for name in self.field_order]

    def switches(self) -> list[forms.BoundField]:
        return [self["fuzz"], self["reschedule"]]

    def zones(self) -> set[str]:
        return available_timezones()

    def values(self) -> dict[str, Any]:
        """What `settings_change` takes."""
        return {name: value for name, value in self.cleaned_data.items() if name != "reschedule"}

    def save(self, commit: bool = True) -> StudySettings:
        raise NotImplementedError("quiz.review.services.settings_change writes settings")


def form_errors(form: forms.Form) -> str:
    """All errors in one line, for a page that has no fields to show them at."""
    return " ".join(f"{name}: {error}" for name, errors in form.errors.items() for error in errors)


class ActionForm(forms.Form):
    """What every button of the review sends."""

    token = forms.UUIDField()
    next = forms.CharField(required=False)


class GradeForm(ActionForm):
    rating = forms.TypedChoiceField(coerce=int, choices=[(n, str(n)) for n in (1, 2, 3, 4)])
    milliseconds = forms.IntegerField(required=False, min_value=0)
    seen = forms.CharField(max_length=16)


class DueForm(forms.Form):
    day = forms.DateField(
        label=_("Due on"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), input_formats=["%Y-%m-%d"]
    )

    def __init__(self, data: Any = None, *, today: Any, prefix: str | None = None) -> None:
        super().__init__(data, prefix=prefix, initial={"day": today})
        self.today = today
        self.fields["day"].widget.attrs["min"] = today.isoformat()

    def clean_day(self) -> Any:
        day = self.cleaned_data["day"]
        if day < self.today:
            raise ValidationError(
                _("%(day)s is in the past; the first day possible is today, %(today)s.")
                % {"day": day.isoformat(), "today": self.today.isoformat()}
            )
        if day.year > self.today.year + 100:
            raise ValidationError(_("%(day)s is more than a hundred years away.") % {"day": day.isoformat()})
        return day


class CardFilter(forms.Form):
    """The browser's filters; what cannot be understood filters nothing."""

    q = forms.CharField(label=_("Text"), required=False, max_length=100)
    state = forms.ChoiceField(label=_("State"), choices=CARD_STATES, required=False)
    topic = TopicField()


class ExtraForm(forms.Form):
    """Which cards to go through beside the schedule, and where one is among them."""

    mode = forms.ChoiceField(choices=[("ahead", _("Review ahead")), ("cram", _("Cram"))])
    topic = TopicField()
    n = forms.IntegerField(min_value=0, max_value=1_000_000, required=False)
    seed = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)
