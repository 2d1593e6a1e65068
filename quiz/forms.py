import uuid
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from kb.text import active_language
from quiz.asking import Asked, accepted_gaps
from quiz.grading import parse_quantity
from quiz.models import Attempt, Question
from quiz.services import MAX_TYPED
from quiz.texts import cloze_text

# Characters of a gap or a number; the longest honest one is far below.
MAX_SHORT = 200


class AnswerForm(forms.Form):
    """What the learner answers before the model answer is shown. `given()` is what `quiz.asking.assess` takes."""

    token = forms.UUIDField(widget=forms.HiddenInput)
    after = forms.IntegerField(widget=forms.HiddenInput, required=False)

    def __init__(self, asked: Asked, data: Any = None, *, after: str = "") -> None:
        super().__init__(data, initial={"token": asked.token, "after": after})
        self.asked = asked
        self._add_fields()

    def _add_fields(self) -> None:
        """The fields of one kind."""

    def given(self) -> Any:
        return None


class OpenForm(AnswerForm):
    typed = forms.CharField(
        label=_("Your answer"),
        help_text=_("Say it aloud or type it. It is kept with your attempt."),
        widget=forms.Textarea(attrs={"rows": 6}),
        max_length=MAX_TYPED,
        required=False,
    )


class ChoiceForm(AnswerForm):
    """One choice, or several; the template draws the options with their Markdown."""

    choice = forms.TypedMultipleChoiceField(
        coerce=int, error_messages={"required": _("Choose an answer.")}, widget=forms.CheckboxSelectMultiple
    )

    def _add_fields(self) -> None:
        self.options = self.asked.choices()
        self.fields["choice"].choices = [(c.position, str(c.position)) for c in self.options]  # type: ignore[attr-defined]

    def given(self) -> list[int]:
        return sorted(self.cleaned_data["choice"])

    def clean_choice(self) -> list[int]:
        chosen: list[int] = self.cleaned_data["choice"]
        if self.asked.question.kind == Question.SINGLE and len(chosen) != 1:
            raise forms.ValidationError(_("Choose one answer."))
        return chosen


class NumberForm(AnswerForm):
    number = forms.CharField(
        label=_("Your result"),
        help_text=_("4718592, 4.7e6 and 1/8 are understood."),
        max_length=MAX_SHORT,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def clean_number(self) -> str:
        number: str = self.cleaned_data["number"]
        try:
            parse_quantity(number, self.asked.unit())
        except ValueError as e:
            raise forms.ValidationError(str(e)) from e
        return number

    def given(self) -> str:
        return str(self.cleaned_data["number"])


class OrderForm(AnswerForm):
    """A number from 1 for each step; every number once."""

    def _add_fields(self) -> None:
        steps = self.asked.steps()
        numbers = [(place, str(place)) for place in range(1, len(steps) + 1)]
        for position, text in steps:
            field = forms.TypedChoiceField(coerce=int, choices=[("", "–"), *numbers], label=str(text))
            self.fields[f"step_{position}"] = field

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        places = [place for name, place in cleaned.items() if name.startswith("step_")]
        if len(set(places)) != len(places):
            raise forms.ValidationError(_("Give each step a number of its own."))
        return cleaned

    def given(self) -> list[int]:
        """The steps' right positions in the order that the learner gave them."""
        steps = {name: place for name, place in self.cleaned_data.items() if name.startswith("step_")}
        return [int(name.removeprefix("step_")) for name in sorted(steps, key=lambda name: steps[name])]


class ClozeForm(AnswerForm):
    def _add_fields(self) -> None:
        for index in range(len(accepted_gaps(self.asked.question))):
            self.fields[f"gap_{index}"] = forms.CharField(
                label=_("Gap %(number)s") % {"number": index + 1},
                max_length=MAX_SHORT,
                required=False,
                widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "off"}),
            )

    def given(self) -> list[str]:
        return [self.cleaned_data[name] for name in self.fields if name.startswith("gap_")]

    def text(self) -> str:
        """The text with numbered gaps."""
        return cloze_text(self.asked.question.spec, active_language())


FORMS: dict[str, type[AnswerForm]] = {
    Question.OPEN: OpenForm,
    Question.SINGLE: ChoiceForm,
    Question.MULTI: ChoiceForm,
    Question.NUMERIC: NumberForm,
    Question.PARAMETRIC: NumberForm,
    Question.ORDER: OrderForm,
    Question.CLOZE: ClozeForm,
}


def answer_form(asked: Asked, data: Any = None, *, after: str = "") -> AnswerForm:
    """The form that fits the question's kind."""
    return FORMS[asked.question.kind](asked, data, after=after)


def fresh_token() -> str:
    return str(uuid.uuid4())


class GradeForm(forms.Form):
    """Which rubric points were made, and how it went."""

    made = forms.TypedMultipleChoiceField(coerce=int, required=False)
    grade = forms.TypedChoiceField(coerce=int, choices=Attempt.GRADES)

    def __init__(self, question: Question, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        choices = [(point.position, str(point.position)) for point in question.rubric.all()]
        self.fields["made"].choices = choices  # type: ignore[attr-defined]
