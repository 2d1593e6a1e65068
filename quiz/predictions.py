"""What a learner predicted wrongly of a run comes into review, by the questions that rest on what was measured."""

from labs.catalog import get_lab
from labs.declaration import Guess
from labs.models import Prediction, Run
from labs.queries import claims_of_lab
from quiz.mistakes import PASSED
from quiz.models import Question
from quiz.review.services import question_to_review

MOST = 2  # questions that one run puts into review


def review_missed(run: Run, scored: list[Prediction]) -> None:
    """Put the questions behind missed predictions into review, as a missed answer of an interview."""
    missed = {prediction.guess for prediction in scored if prediction.score is not None and prediction.score < PASSED}
    if run.owner is None or not missed:
        return
    guesses = [guess for guess in get_lab(run.lab_slug).guesses if guess.slug in missed]
    for question in questions_behind(run, guesses)[:MOST]:
        question_to_review(run.owner, question)


def questions_behind(run: Run, guesses: list[Guess]) -> list[Question]:
    """Published questions that show a claim on a guessed metric of the run's lab, easiest first."""
    metrics = {guess.metric for guess in guesses}
    claims = [c for c in claims_of_lab(run.lab) if any(check.get("metric") in metrics for check in c.checks)]
    found = Question.objects.filter(claims__in=claims).distinct()
    return list(found.order_by("difficulty", "position", "pk"))
