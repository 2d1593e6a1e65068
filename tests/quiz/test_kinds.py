"""The kinds that a machine grades, from the form to the page after it."""

import re
import uuid

import pytest
from django.core.cache import cache
from django.test import Client

from kb import markup
from kb.models import Topic
from kb.renderings import renderings_rebuild
from quiz.drawing import draw
from quiz.models import Attempt, Choice, Question
from quiz.review.services import cards_sync
from tests.builders import make_question

pytestmark = pytest.mark.django_db


def make(kind: str, **values) -> Question:
    topic, _ = Topic.objects.get_or_create(slug="math", defaults={"title_en": "Mathematics"})
    texts = {"prompt_en": f"A {kind} question", "answer_en": "The explanation"}
    return Question.objects.create(slug=f"q-{kind}", topic=topic, kind=kind, difficulty=2, **texts | values)


def make_choices(kind: str) -> Question:
    question = make(kind)
    for position, is_correct in enumerate([True, True, False, False] if kind == "multi" else [False, True, False]):
        text = f"option {position}"
        Choice.objects.create(
            question=question, position=position, is_correct=is_correct, text_en=text, feedback_en=f"because {text}"
        )
    return question


PARAMETRIC = {
    "draw": {"rank": [4, 8, 16], "width": [512, 1024]},
    "let": {"one": {"formula": "lora_layer_parameters", "arguments": {"d_out": "<<width>>", "d_in": 1, "rank": 1}}},
    "result": {
        "formula": "lora_layer_parameters",
        "arguments": {"d_out": "<<width>>", "d_in": "<<width>>", "rank": "<<rank>>"},
    },
    "slips": [
        {
            "formula": "lora_layer_parameters",
            "arguments": {"d_out": "<<width>>", "d_in": 0, "rank": "<<rank>>"},
            "feedback": {"en": "You counted only B.", "zh": "只算了 B。"},
        }
    ],
    "unit": "parameters",
}


def answer(client: Client, question: Question, token: str = "", **given) -> Attempt | None:
    """Send an answer and give the attempt that came of it, if one did."""
    token = token or str(uuid.uuid4())
    client.post(f"/questions/{question.slug}/reveal/", {"token": token, **given})
    return Attempt.objects.filter(token=token).first()


@pytest.mark.parametrize(("choice", "score"), [([1], 1.0), ([0], 0.0)])
def test_a_single_choice_is_right_or_wrong(as_alice, choice, score):
    attempt = answer(as_alice, make_choices("single"), choice=choice)
    assert (attempt.given, attempt.score) == (choice, score)


@pytest.mark.parametrize("choice", [[], [0, 1], [9]])
def test_a_single_choice_needs_exactly_one_that_exists(as_alice, choice):
    assert answer(as_alice, make_choices("single"), choice=choice) is None


@pytest.mark.parametrize(("choice", "score"), [([0, 1], 1.0), ([0], 0.5), ([0, 2], 0.0), ([0, 1, 2, 3], 0.0)])
def test_several_choices_give_partial_credit_and_guessing_gains_nothing(as_alice, choice, score):
    assert answer(as_alice, make_choices("multi"), choice=choice).score == score


def test_every_option_gets_its_feedback_afterwards(as_alice):
    attempt = answer(as_alice, make_choices("single"), choice=[0])
    page = as_alice.get(attempt.get_absolute_url()).content.decode()
    assert all(f"because option {position}" in page for position in range(3))
    assert "Not right" in page


@pytest.mark.parametrize(("number", "score"), [("65,536", 1.0), ("6.55e4", 1.0), ("65000", 1.0), ("64000", 0.0)])
def test_a_number_counts_within_the_tolerance(as_alice, number, score):
    arguments = {"d_out": 4096, "d_in": 4096, "rank": 8}
    question = make("numeric", spec={"result": {"formula": "lora_layer_parameters", "arguments": arguments}})
    assert answer(as_alice, question, number=number).score == score


def test_what_is_no_number_is_explained_and_kept(as_alice):
    question = make("numeric", spec={"value": 4.5})
    response = as_alice.post(
        f"/questions/{question.slug}/reveal/", {"token": str(uuid.uuid4()), "number": "about four"}
    )
    assert response.status_code == 422
    assert "about four" in response.content.decode()
    assert "is not a number" in response.content.decode()
    assert not Attempt.objects.exists()


def test_a_parametric_question_asks_with_the_numbers_that_it_grades(as_alice):
    question = make("parametric", prompt_en="Rank <<rank>>, width <<width>>", spec=PARAMETRIC)
    page = as_alice.get(question.get_absolute_url()).content.decode()
    token = re.search(r'name="token" value="([^"]+)"', page)[1]
    drawn = draw(PARAMETRIC, token)
    assert f"Rank {drawn.values['rank']}, width {drawn.values['width']:,}" in page
    attempt = answer(as_alice, question, token, number=str(drawn.result))
    assert attempt.score == 1.0
    assert attempt.drawn == {name: drawn.values[name] for name in ("rank", "width")}
    assert f"Rank {drawn.values['rank']}" in as_alice.get(attempt.get_absolute_url()).content.decode()


def test_a_typical_slip_is_recognised(as_alice):
    question = make("parametric", spec=PARAMETRIC)
    token = str(uuid.uuid4())
    drawn = draw(PARAMETRIC, token)
    slip = drawn.values["width"] * drawn.values["rank"]
    attempt = answer(as_alice, question, token, number=str(slip))
    assert attempt.score == 0.0
    assert "You counted only B." in as_alice.get(attempt.get_absolute_url()).content.decode()


def test_the_numbers_of_an_attempt_stay_when_the_question_changes(as_alice):
    question = make("parametric", prompt_en="Rank <<rank>>", spec=PARAMETRIC)
    attempt = answer(as_alice, question, number="1")
    Question.objects.update(spec=PARAMETRIC | {"draw": {"rank": [99, 100], "width": [1, 2]}})
    assert f"Rank {attempt.drawn['rank']}" in as_alice.get(attempt.get_absolute_url()).content.decode()


STEPS = [{"en": name, "zh": name} for name in ("freeze", "insert", "train", "merge")]


@pytest.mark.parametrize(("places", "score"), [([1, 2, 3, 4], 1.0), ([2, 1, 3, 4], 2 / 3), ([4, 3, 2, 1], 0.0)])
def test_an_order_gets_partial_credit(as_alice, places, score):
    question = make("order", spec={"steps": STEPS})
    given = {f"step_{position}": place for position, place in enumerate(places)}
    attempt = answer(as_alice, question, **given)
    assert attempt.score == pytest.approx(score)
    assert as_alice.get(attempt.get_absolute_url()).status_code == 200


def test_an_order_needs_each_number_once(as_alice):
    question = make("order", spec={"steps": STEPS})
    assert answer(as_alice, question, step_0=1, step_1=1, step_2=2, step_3=3) is None


def test_a_cloze_takes_either_language_and_any_case(as_alice):
    question = make(
        "cloze", spec={"cloze": {"en": "{{Frozen|fixed}} base, rank {{r}}", "zh": "{{冻结}}基座，秩 {{r}}"}}
    )
    assert answer(as_alice, question, gap_0="frozen", gap_1="R").score == 1.0
    assert answer(as_alice, question, gap_0="冻结", gap_1="α").score == 0.5


def test_a_graded_kind_is_graded_by_the_learner_too_without_changing_its_score(as_alice):
    attempt = answer(as_alice, make_choices("single"), choice=[1])
    as_alice.post(f"/attempts/{attempt.pk}/grade/", {"grade": "3"})
    attempt.refresh_from_db()
    assert (attempt.grade, attempt.score) == (3, 1.0)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_answer_page_needs_no_attempt(as_charlie, kind):
    question = make_choices(kind)
    assert as_charlie.get(f"{question.get_absolute_url()}answer/").status_code == 200


def test_a_parametric_answer_page_shows_one_draw(as_charlie):
    question = make("parametric", answer_en="It is <<result>>.", spec=PARAMETRIC)
    page = as_charlie.get(f"{question.get_absolute_url()}answer/").content.decode()
    assert re.search(r"It is [\d,]+\.", page)


def make_order() -> Question:
    return make("order", spec={"steps": [{"en": f"step *{n}*", "zh": f"步骤 *{n}*"} for n in (1, 2, 3)]})


def make_cloze() -> Question:
    return make("cloze", spec={"cloze": {"en": "Rank {{r}} is *small*.", "zh": "秩 {{r}} *小*。"}})


@pytest.mark.parametrize("language", ["en", "zh-hans"])
@pytest.mark.parametrize("build", [make_question, lambda: make_choices("multi"), make_order, make_cloze])
def test_no_text_of_a_card_is_parsed_while_the_learner_waits(alice, as_alice, build, language, monkeypatch):
    build()
    cards_sync(alice)
    renderings_rebuild()
    cache.clear()
    monkeypatch.setattr(markup, "_markdown", lambda: pytest.fail("parsed"))
    as_alice.cookies["django_language"] = language
    assert "study-card" in as_alice.get("/review/study/").content.decode()
