"""Predict, then run: the form, what is committed, how it is scored, and what follows from it."""

import json

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from labs.catalog import all_labs, get_lab
from labs.declaration import Guess
from labs.guessing import outcome, score, score_order, score_value
from labs.models import Prediction, Run
from labs.services import predictions_commit, predictions_score, run_claim, run_finish, run_finish_point, run_request
from labs.services.predictions import after_scored
from labs.titles import titles_apart
from quiz.models import Card
from quiz.sittings.queries import sure_answers
from tests.builders import add_values, make_measured_claim, make_question, make_run

GUESSES = [(lab, guess) for lab in all_labs().values() for guess in lab.guesses]
POINTS = ("rank=1,scaling=constant", "rank=64,scaling=constant", "rank=1,scaling=double", "rank=64,scaling=double")
SUBMIT = "/labs/rank-sweep/submit/"
QUICK = {
    name: value if name == "scalings" else ", ".join(map(str, value)) if isinstance(value, list) else value
    for name, value in run_request(lab_slug="rank-sweep", preset="quick").params.items()
} | {"seeds": "0"}
ORDER = {f"guess-order-{index}": str(place) for index, place in enumerate((4, 2, 3, 1))}


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "found", "credit"),
    [(110, 100, 1.0), (90, 100, 1.0), (130, 100, 0.5), (131, 100, 0.0), (-1, 1, 0.0), (0, 0, 1.0), (1e-9, 0, 0.0)],
)
def test_a_number_is_scored_by_its_distance(answer, found, credit):
    assert score_value(answer, found) == credit


def test_an_order_is_scored_by_its_pairs():
    found = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert score_order(["a", "b", "c"], found) == 1
    assert score_order(["b", "a", "c"], found) == pytest.approx(2 / 3)
    assert score_order(["c", "b", "a"], found) == 0


@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.integers(0, 5), min_size=4, max_size=4))
def test_an_order_and_its_reverse_share_the_pairs(answer, values):
    found = dict(zip("abcd", map(float, values), strict=True))
    both = score_order(answer, found) + score_order(answer[::-1], found)
    assert both == pytest.approx(1 if len(set(values)) > 1 else 2)


def test_a_choice_is_scored_by_its_ticks():
    guess = Guess("zero", "which", GUESSES[0][1].text, "m", ("a", "b", "c", "d"))
    found = {"a": 0.0, "b": 0.0, "c": 1.0, "d": 2.0}
    assert outcome(guess, found) == ["a", "b"]
    assert score(guess, ["a", "b"], found) == 1
    assert score(guess, ["a", "c"], found) == 0.5


def test_a_point_that_the_run_lacks_is_no_outcome():
    guess = Guess("value", "value", GUESSES[0][1].text, "m", ("a",))
    assert outcome(guess, {"b": 1.0}) is None


# --- declarations -----------------------------------------------------------------------------------------------------


def test_every_lab_asks_for_a_prediction():
    assert [lab.slug for lab in all_labs().values() if not lab.guesses] == []


def test_what_all_points_share_is_not_said_of_each():
    lab = get_lab("memory-ladder")
    titles = titles_apart(["against=before,rung=lora", "against=before,rung=nf4"], lab)
    assert titles == {"against=before,rung=lora": "+ LoRA", "against=before,rung=nf4": "+ NF4 (QLoRA)"}


@pytest.mark.parametrize(("lab", "guess"), GUESSES, ids=[f"{lab.slug}-{guess.slug}" for lab, guess in GUESSES])
def test_a_guess_asks_for_what_the_lab_measures(lab, guess):
    lab.metric(guess.metric)
    assert guess.text.en
    assert guess.text.zh
    assert (len(guess.points) == 1) == (guess.kind == "value")
    evidence = settings.CONTENT_DIR / "evidence" / f"{lab.slug}-standard.json"
    if evidence.exists():
        rows = json.loads(evidence.read_text())["summary"]
        assert {(guess.metric, point) for point in guess.points} <= {(row["name"], row["point"]) for row in rows}


# --- from the form to the score ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_lab_asks_for_predictions(as_alice):
    html = as_alice.get("/labs/rank-sweep/").content.decode()
    assert "Predict first, then run" in html
    assert "Order the four settings by validation loss" in html


@pytest.mark.django_db
def test_a_run_without_predictions_is_a_run(as_alice, bells):
    assert as_alice.post(SUBMIT, QUICK).status_code == 302
    assert not Prediction.objects.exists()


@pytest.mark.django_db
def test_what_was_predicted_is_committed_with_the_run(as_alice, bells):
    typed = ORDER | {"guess-parameters": "20000000", "guess-certainty": "2"}
    assert as_alice.post(SUBMIT, QUICK | typed).status_code == 302
    run = Run.objects.get()
    assert list(run.predictions.values_list("guess", "answer", "certainty", "score")) == [
        ("order", [POINTS[3], POINTS[1], POINTS[2], POINTS[0]], 2, None),
        ("parameters", 20000000.0, 2, None),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (ORDER, "Say how sure you are of your prediction."),
        (ORDER | {"guess-order-0": "1", "guess-certainty": "1"}, "Give every place once"),
        ({"guess-order-1": "1", "guess-certainty": "1"}, "Give every place once"),
        ({"guess-parameters": "many", "guess-certainty": "1"}, "Enter a number."),
        ({"guess-parameters": "5", "guess-certainty": "9"}, "Select a valid choice."),
    ],
)
def test_a_bad_prediction_is_named_and_kept(as_alice, bells, typed, message):
    response = as_alice.post(SUBMIT, QUICK | typed)
    html = response.content.decode()
    assert response.status_code == 422
    assert message in html
    assert '<details class="guesses" open>' in html
    assert not Run.objects.exists()


def predicted_run(alice, answer, guess="order", certainty=3) -> Run:
    """A claimed run of four points whose losses fall from POINTS[0] to POINTS[3]."""
    run = make_run(alice, status=Run.QUEUED)
    predictions_commit(run, {guess: answer}, certainty)
    run = run_claim(run.pk)
    for place, point in enumerate(POINTS):
        value = {"name": "validation_loss", "value": 4.0 - place, "step": None}
        run_finish_point(run, key=point, seed=0, metrics=[value])
    return run


@pytest.mark.django_db
def test_a_run_that_succeeds_scores_what_was_predicted(as_alice, alice):
    run = predicted_run(alice, list(POINTS[::-1]))
    assert run_finish(run, status=Run.SUCCEEDED)
    assert run.predictions.get().score == 1
    html = as_alice.get(run.get_absolute_url()).content.decode()
    assert "What you predicted" in html
    assert "100 %" in html


@pytest.mark.django_db
def test_a_run_that_fails_scores_nothing(alice):
    run = predicted_run(alice, list(POINTS))
    assert run_finish(run, status=Run.FAILED)
    assert run.predictions.get().score is None


@pytest.mark.django_db
def test_a_score_that_cannot_be_had_does_not_hold_up_the_run(alice, monkeypatch, caplog):
    def broken(run, scored):
        raise RuntimeError("a fault in another app")

    monkeypatch.setattr("labs.services.predictions.after_scored", [broken])
    run = predicted_run(alice, list(POINTS))
    assert run_finish(run, status=Run.SUCCEEDED)
    run.refresh_from_db()
    assert (run.status, run.predictions.get().score) == (Run.SUCCEEDED, None)
    assert "could not be scored" in caplog.text


@pytest.mark.django_db
def test_scoring_again_changes_nothing(alice):
    run = predicted_run(alice, list(POINTS))
    run_finish(run, status=Run.SUCCEEDED)
    assert predictions_score(run) == []


@pytest.mark.django_db
def test_a_predicted_number_is_drawn_into_the_picture(as_alice, alice):
    run = add_values(make_run(alice), "trainable_parameters", POINTS[3], 19_537_920.0)
    predictions_commit(run, {"parameters": 2e7}, 1)
    predictions_score(run)
    html = as_alice.get(run.get_absolute_url()).content.decode()
    assert "predicted: 2e+07" in html
    assert run.predictions.get().score == 1


# --- what follows -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_prediction_counts_for_the_calibration_of_its_owner(alice, bob):
    run_finish(predicted_run(alice, list(POINTS)), status=Run.SUCCEEDED)
    assert sure_answers(alice) == [(3, 0.0)]
    assert sure_answers(bob) == []


@pytest.mark.django_db
@pytest.mark.parametrize(("answer", "cards"), [(list(POINTS), 1), (list(POINTS[::-1]), 0)])
def test_what_was_missed_comes_into_review(alice, answer, cards):
    question = make_question()
    question.claims.add(make_measured_claim())
    make_question()  # which rests on nothing of this lab
    run_finish(predicted_run(alice, answer), status=Run.SUCCEEDED)
    assert list(Card.objects.values_list("owner", "question")) == [(alice.pk, question.pk)] * cards
    assert len(after_scored) == 1
