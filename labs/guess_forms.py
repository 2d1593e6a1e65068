"""The form in which a learner predicts the outcome of a lab before running it."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from labs.declaration import Guess, Lab
from labs.figures import value_title
from labs.guessing import Answer
from labs.models import Prediction
from labs.services import Expected
from labs.titles import titles_apart

POSITION = "guess-{slug}-{index}"


class GuessForm(forms.Form):
    """Every prediction is optional; who makes one also says how sure they are."""

    def __init__(self, lab: Lab, data: Any = None) -> None:
        super().__init__(data)
        self.lab = lab
        self.answers: dict[str, Answer] = {}
        for guess in lab.guesses:
            self.fields |= fields_of(guess, lab)
        if lab.guesses:
            self.fields["guess-certainty"] = forms.TypedChoiceField(
                label=_("How sure are you?"),
                choices=Prediction.CERTAINTIES,
                coerce=int,
                empty_value=None,
                required=False,
                widget=forms.RadioSelect,
            )

    @property
    def questions(self) -> list[dict[str, Any]]:
        """Each guess with its fields, for the page."""
        return [
            {"guess": guess, "fields": [self[name] for name in fields_of(guess, self.lab)]}
            for guess in self.lab.guesses
        ]

    @property
    def certainty(self) -> forms.BoundField:
        return self["guess-certainty"]

    @property
    def expected(self) -> Expected | None:
        """What was predicted, of a valid form; None without any prediction."""
        return Expected(self.answers, self.cleaned_data["guess-certainty"]) if self.answers else None

    @property
    def is_open(self) -> bool:
        return bool(self.errors or self.answers)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        for guess in self.lab.guesses:
            answer = self._answer(guess, cleaned)
            if answer is not None:
                self.answers[guess.slug] = answer
        if self.answers and not cleaned.get("guess-certainty"):
            self.add_error("guess-certainty", _("Say how sure you are of your prediction."))
        return cleaned

    def _answer(self, guess: Guess, cleaned: dict[str, Any]) -> Answer | None:
        names = list(fields_of(guess, self.lab))
        given = [cleaned[name] for name in names]
        if guess.kind == "order":
            return self._order(guess, names, given)
        return given[0] if given[0] not in (None, []) else None

    def _order(self, guess: Guess, names: list[str], given: list[str]) -> list[str] | None:
        if not any(given):
            return None
        if sorted(given) != [str(place + 1) for place in range(len(given))]:
            self.add_error(names[0], _("Give every place once, from the smallest to the largest."))
            return None
        return [point for _place, point in sorted(zip(map(int, given), guess.points, strict=True))]


def fields_of(guess: Guess, lab: Lab) -> dict[str, forms.Field]:
    """A number, a place for each point, or boxes to tick."""
    titles = titles_apart(guess.points, lab)
    name = f"guess-{guess.slug}"
    if guess.kind == "value":
        return {name: forms.FloatField(label=value_title(lab.metric(guess.metric)), required=False)}
    if guess.kind == "which":
        boxes = forms.CheckboxSelectMultiple
        field = forms.MultipleChoiceField(choices=list(titles.items()), widget=boxes, required=False)
        field.label = str(guess.text)
        return {name: field}
    places = [("", "–"), *((str(n), str(n)) for n in range(1, len(titles) + 1))]
    return {
        POSITION.format(slug=guess.slug, index=index): forms.ChoiceField(label=title, choices=places, required=False)
        for index, title in enumerate(titles.values())
    }
