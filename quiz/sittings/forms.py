import uuid
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from kb.models import Topic
from kb.text import pick
from quiz.asking import Asked
from quiz.forms import AnswerForm, answer_form
from quiz.models import Question, Turn
from quiz.search_source import KIND_TITLES
from quiz.sittings.options import MAX_FOLLOW_UPS, MAX_QUESTIONS, MAX_SEARCH, QuizOptions

STATES = [
    ("new", _("new: not answered yet")),
    ("weak", _("weak: the last answer had gaps")),
    ("due", _("due for review today")),
    ("wrong", _("wrong at least once")),
]
FEEDBACK = [("immediate", _("after each question")), ("end", _("at the end"))]
LEVELS = [(n, str(n)) for n in range(1, 6)]
FOLLOW_UPS = [(0, _("none"))] + [(n, str(n)) for n in range(1, MAX_FOLLOW_UPS + 1)]
SEVERAL = forms.CheckboxSelectMultiple


class BuildForm(forms.Form):
    """What to ask and how. Nothing chosen in a list leaves it out."""

    token = forms.UUIDField(widget=forms.HiddenInput)
    topics = forms.MultipleChoiceField(label=_("Topics"), required=False, widget=SEVERAL)
    states = forms.MultipleChoiceField(label=_("How it went so far"), choices=STATES, required=False, widget=SEVERAL)
    mistakes = forms.BooleanField(label=_("Only my mistakes: the last answer was wrong"), required=False)
    kinds = forms.MultipleChoiceField(
        label=_("Kinds"), choices=list(KIND_TITLES.items()), required=False, widget=SEVERAL
    )
    easiest = forms.TypedChoiceField(label=_("Difficulty from"), choices=LEVELS, coerce=int, initial=1)
    hardest = forms.TypedChoiceField(label=_("to"), choices=LEVELS, coerce=int, initial=5)
    search = forms.CharField(
        label=_("With these words"),
        max_length=MAX_SEARCH,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    count = forms.IntegerField(label=_("Number of questions"), min_value=1, max_value=MAX_QUESTIONS, initial=10)
    feedback = forms.ChoiceField(
        label=_("Show the answers"), choices=FEEDBACK, initial="immediate", widget=forms.RadioSelect
    )
    follow_ups = forms.TypedChoiceField(
        label=_("Follow-ups after a question, at most"), choices=FOLLOW_UPS, coerce=int, initial=0
    )
    certainty = forms.BooleanField(
        label=_("Ask how sure I am"),
        help_text=_("A right answer gives 1, 2 or 3 marks, a wrong one 0, −2 or −6; half right lies halfway between."),
        required=False,
    )

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial={"token": uuid.uuid4(), **(initial or {})})
        topics = Topic.objects.filter(questions__status="published").distinct()
        choices = [(topic.slug, pick(topic, "title")) for topic in topics]
        self.fields["topics"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        easiest, hardest = cleaned.get("easiest"), cleaned.get("hardest")
        if easiest and hardest and easiest > hardest:
            message = _("Difficulty %(easiest)s to %(hardest)s: the first must not be higher than the second.")
            raise forms.ValidationError(message % {"easiest": easiest, "hardest": hardest})
        return cleaned

    def options(self) -> QuizOptions:
        return QuizOptions(**{name: value for name, value in self.cleaned_data.items() if name != "token"})


def build_initial(query: QueryDict) -> dict[str, Any]:
    """What a link to the form chooses: `?topics=math&mistakes=on`."""
    several = {"topics", "kinds", "states"}
    names = [name for name in BuildForm.base_fields if name in query and name != "token"]
    return {name: query.getlist(name) if name in several else query[name] for name in names}


class CertaintyForm(forms.Form):
    """How sure the learner is of an answer."""

    certainty = forms.TypedChoiceField(
        label=_("How sure are you?"),
        choices=Turn.CERTAINTIES,
        coerce=int,
        empty_value=None,
        widget=forms.RadioSelect,
        error_messages={"required": _("Say how sure you are.")},
    )

    def __init__(self, data: Any = None, *, is_required: bool = True) -> None:
        super().__init__(data)
        self.fields["certainty"].required = is_required


class MarkForm(forms.Form):
    """Which rubric points were made."""

    made = forms.TypedMultipleChoiceField(coerce=int, required=False)

    def __init__(self, question: Question, data: Any = None) -> None:
        super().__init__(data)
        choices = [(point.position, str(point.position)) for point in question.rubric.all()]
        self.fields["made"].choices = choices  # type: ignore[attr-defined]


def draft_form(asked: Asked, draft: dict[str, list[str]]) -> AnswerForm:
    """The form as it was left: filled in, but not yet judged."""
    form = answer_form(asked)
    form.initial.update(_draft_values(draft, form))
    return form


def draft_certainty(draft: dict[str, list[str]], *, is_required: bool = True) -> CertaintyForm:
    form = CertaintyForm(is_required=is_required)
    form.initial = _draft_values(draft, form)
    return form


def _draft_values(draft: dict[str, list[str]], form: forms.Form) -> dict[str, Any]:
    kept = {name: values for name, values in draft.items() if name in form.fields and name not in ("token", "after")}
    several = forms.MultipleChoiceField
    return {
        name: values if isinstance(form.fields[name], several) else (values or [""])[-1]
        for name, values in kept.items()
    }
