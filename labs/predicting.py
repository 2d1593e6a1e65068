"""What was expected of a run beside what it gave, as its page shows it."""

from typing import Any

from labs.declaration import Guess
from labs.guessing import Answer, outcome
from labs.models import Prediction, Run
from labs.numbers import format_quantity
from labs.services.predictions import means_at
from labs.titles import titles_apart


def predicted_rows(run: Run) -> list[dict[str, Any]]:
    """A row for each prediction whose guess the lab still has."""
    guesses = {guess.slug: guess for guess in run.lab.guesses}
    return [_row(run, p, guesses[p.guess]) for p in run.predictions.all() if p.guess in guesses]


def _row(run: Run, prediction: Prediction, guess: Guess) -> dict[str, Any]:
    found = outcome(guess, means_at(run, guess)) if run.status == Run.SUCCEEDED else None
    return {
        "text": guess.text,
        "answer": _shown(run, guess, prediction.answer),
        "found": None if found is None else _shown(run, guess, found),
        "certainty": prediction.get_certainty_display(),
        "percent": None if prediction.score is None else round(100 * prediction.score),
    }


def _shown(run: Run, guess: Guess, answer: Answer) -> dict[str, Any]:
    """A number with its unit, or the titles of points."""
    if isinstance(answer, int | float):
        return {"value": format_quantity(answer, run.lab.metric(guess.metric).unit)}
    titles = titles_apart(guess.points, run.lab)
    return {"points": [titles.get(point, point) for point in answer], "is_ordered": guess.kind == "order"}
