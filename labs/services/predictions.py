"""Predictions: committed with a run, scored when it has succeeded."""

from collections import defaultdict
from collections.abc import Callable, Mapping

from django.db import transaction

from labs.declaration import Guess
from labs.guessing import Answer, outcome, score
from labs.models import Prediction, Run
from labs.statistics import mean_interval

# Called with the predictions of a run that were just scored, in the same transaction; other apps add to it.
after_scored: list[Callable[[Run, list[Prediction]], None]] = []


def predictions_commit(run: Run, answers: Mapping[str, Answer], certainty: int) -> None:
    """Keep what was expected of a run that has not begun."""
    Prediction.objects.bulk_create(
        [Prediction(run=run, guess=slug, answer=answer, certainty=certainty) for slug, answer in answers.items()]
    )


@transaction.atomic
def predictions_score(run: Run) -> list[Prediction]:
    """Score those that are not, of a run that succeeded; returns them. What the run lacks stays without a score."""
    waiting = list(run.predictions.select_for_update().filter(score=None)) if run.status == Run.SUCCEEDED else []
    guesses = {guess.slug: guess for guess in run.lab.guesses}
    scored = []
    for prediction in waiting:
        guess = guesses.get(prediction.guess)
        found = means_at(run, guess) if guess else {}
        if guess and outcome(guess, found) is not None:
            prediction.score = score(guess, prediction.answer, found)
            prediction.save(update_fields=["score"])
            scored.append(prediction)
    for follow in after_scored if scored else []:
        follow(run, scored)
    return scored


def means_at(run: Run, guess: Guess) -> dict[str, float]:
    """The mean over seeds of the guessed metric at each of its points that the run has."""
    values: dict[str, list[float]] = defaultdict(list)
    for point, value in run.values.filter(step=None, name=guess.metric, point__in=guess.points).values_list(
        "point", "value"
    ):
        values[point].append(value)
    return {point: mean_interval(found).mean for point, found in values.items()}
