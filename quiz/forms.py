import uuid

from django import forms
from django.utils.translation import gettext_lazy as _

from quiz.models import Attempt, Question
from quiz.services import MAX_TYPED


class AnswerForm(forms.Form):
    """What the learner types before the answer is shown."""

    token = forms.UUIDField(widget=forms.HiddenInput)
    after = forms.IntegerField(widget=forms.HiddenInput, required=False)
    typed = forms.CharField(
        label=_("Your answer"),
        help_text=_("Say it aloud or type it. It is kept with your attempt."),
        widget=forms.Textarea(attrs={"rows": 6}),
        max_length=MAX_TYPED,
        required=False,
    )

    @classmethod
    def fresh(cls, after: str = "") -> "AnswerForm":
        return cls(initial={"token": uuid.uuid4(), "after": after})


class GradeForm(forms.Form):
    """Which rubric points were made, and how it went."""

    made = forms.TypedMultipleChoiceField(coerce=int, required=False)
    grade = forms.TypedChoiceField(coerce=int, choices=Attempt.GRADES)

    def __init__(self, question: Question, data: object = None) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        choices = [(point.position, str(point.position)) for point in question.rubric.all()]
        self.fields["made"].choices = choices  # type: ignore[attr-defined]
