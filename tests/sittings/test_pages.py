"""The pages of a quiz: build, answer, mark, leave and come back, report, history."""

import re
import uuid

import pytest
from django.test import Client
from django.test.utils import CaptureQueriesContext

from quiz.models import Attempt, Card, Choice, Question, RubricPoint, Sitting, Turn
from quiz.services import MAX_TYPED
from tests.builders import make_follow_up, make_question, make_topic

pytestmark = pytest.mark.django_db

BASIC = {"easiest": 1, "hardest": 5, "count": 10, "feedback": "immediate", "follow_ups": 0}


def body(response, status: int = 200) -> str:
    assert response.status_code == status, response.content.decode()[:2000]
    return response.content.decode()


def start(client: Client, **options) -> Sitting:
    response = client.post("/quizzes/start/", {**BASIC, "token": str(uuid.uuid4()), **options})
    assert response.status_code == 302, response.content.decode()
    return Sitting.objects.get(pk=response.url.rstrip("/").rsplit("/", 1)[1])


def address(turn: Turn, action: str = "") -> str:
    return f"/quizzes/{turn.sitting_id}/turns/{turn.pk}/{action}"


def send(client: Client, turn: Turn, **fields) -> object:
    return client.post(address(turn, "answer/"), {"token": str(turn.token), **fields})


def mark(client: Client, turn: Turn, *made: int) -> object:
    return client.post(address(turn, "mark/"), {"made": made})


@pytest.fixture
def open_question(db) -> Question:
    question = make_question(slug="why", prompt_en="Why a low rank?", answer_en="Few directions.")
    RubricPoint.objects.filter(question=question, position=0).update(terms_en=["freez"])
    return question


@pytest.fixture
def multi(db) -> Question:
    question = make_question(slug="which", kind="multi", prompt_en="Which ones?", answer_en="The first two.")
    for position in range(4):
        Choice.objects.create(
            question=question, position=position, is_correct=position < 2, text_en=f"Option {position}"
        )
    return question


def numeric(**values) -> Question:
    return make_question(kind="numeric", spec={"value": 7.0, "unit": "GB", "tolerance": 0.05}, **values)


# --- building ---------------------------------------------------------------------------------------------------------


def test_the_form_offers_topics_with_questions(as_alice, open_question):
    make_topic("empty")
    html = body(as_alice.get("/quizzes/new/"))
    assert 'value="math"' in html
    assert 'value="empty"' not in html


def test_a_link_chooses_beforehand(as_alice, open_question):
    html = body(as_alice.get("/quizzes/new/?topics=math&mistakes=on&count=3"))
    assert re.search(r'value="math"[^>]*checked', html)
    assert re.search(r'name="mistakes"[^>]*checked', html)
    assert 'value="3"' in html


def test_a_quiz_begins_with_its_first_question(as_alice, alice, open_question):
    sitting = start(as_alice, topics=["math"], certainty="on")
    assert (sitting.owner, sitting.kind, sitting.options["certainty"]) == (alice, "quiz", True)
    html = body(as_alice.get(sitting.get_absolute_url()))
    assert "Why a low rank?" in html
    assert "Few directions." not in html


def test_the_same_form_twice_is_one_quiz(as_alice, as_bob, open_question):
    token = str(uuid.uuid4())
    assert start(as_alice, token=token) == start(as_alice, token=token)
    assert Sitting.objects.count() == 1
    assert as_bob.post("/quizzes/start/", {**BASIC, "token": token}).status_code == 400


def test_fewer_questions_than_wanted_are_announced(as_alice, open_question):
    html = body(as_alice.get(start(as_alice).get_absolute_url()))
    assert "Only 1 question fits." in html


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kinds": ["order"]}, "No question fits all of this."),
        ({"search": "sharding"}, "No question fits all of this."),
        ({"states": ["wrong"]}, "No question fits all of this."),
        ({"easiest": 5, "hardest": 2}, "Difficulty 5 to 2"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"count": 1000}, "less than or equal to 100"),
        ({"topics": ["nonsense"]}, "nonsense is not one of the available choices"),
        ({"token": "x"}, "Enter a valid UUID"),
    ],
)
def test_what_cannot_be_built_is_explained_and_the_choice_is_kept(as_alice, open_question, fields, message):
    fields = {**BASIC, "token": str(uuid.uuid4()), "mistakes": "on", "kinds": ["open"], **fields}
    html = body(as_alice.post("/quizzes/start/", fields), 422)
    assert message in html
    assert re.search(r'name="mistakes"[^>]*checked', html)
    assert re.search(rf'value="{fields["kinds"][0]}"[^>]*checked', html)
    assert not Sitting.objects.exists()


def test_the_count_follows_the_form(as_alice, open_question, multi):
    fields = {**BASIC, "token": str(uuid.uuid4())}
    assert "2 questions fit" in body(as_alice.get("/quizzes/new/count/", fields))
    assert "1 question fits" in body(as_alice.get("/quizzes/new/count/", {**fields, "kinds": ["multi"]}))
    assert "fit" not in body(as_alice.get("/quizzes/new/count/", {**fields, "count": "many"}))


# --- answering --------------------------------------------------------------------------------------------------------


def test_a_graded_answer_is_shown_with_its_score_at_once(as_alice, multi):
    turn = start(as_alice).turns.get()
    response = send(as_alice, turn, choice=[0, 1, 2])
    assert response.url == address(turn)
    html = body(as_alice.get(response.url))
    assert "Partly right: 50 %" in html
    assert "The first two." in html


def test_at_the_end_nothing_is_shown_before(as_alice, multi):
    numeric()
    sitting = start(as_alice, feedback="end")
    turn = sitting.turns.get(question=multi)
    assert send(as_alice, turn, choice=[0, 1]).url == sitting.get_absolute_url()
    html = body(as_alice.get(address(turn)))
    assert "The right one is shown at the end." in html
    assert "The first two." not in html
    attempt_page = as_alice.get(f"/attempts/{Turn.objects.get(pk=turn.pk).attempt_id}/")
    assert attempt_page.url == sitting.get_absolute_url()
    last = sitting.turns.get(attempt=None)
    send(as_alice, last, number="7 GB")
    assert "The first two." in body(as_alice.get(address(turn)))
    assert Sitting.objects.get().finished_at


def test_a_unit_and_a_tolerance_are_understood(as_alice):
    numeric()
    turn = start(as_alice).turns.get()
    send(as_alice, turn, number="7200 MB")
    assert Attempt.objects.get().score == 1.0


def test_fresh_numbers_stay_the_same_for_one_turn(as_alice):
    spec = {
        "draw": {"rank": [1, 2, 4, 8, 16, 32, 64]},
        "result": {"formula": "lora_layer_parameters", "arguments": {"d_in": 16, "d_out": 16, "rank": "<<rank>>"}},
    }
    make_question(kind="parametric", spec=spec, prompt_en="Rank <<rank>>?", answer_en="It is <<result>>.")
    turn = start(as_alice).turns.get()
    shown = re.search(r"Rank (\d+)\?", body(as_alice.get(address(turn))))[1]
    assert f"Rank {shown}?" in body(as_alice.get(address(turn)))
    send(as_alice, turn, number=str(int(shown) * 32))
    html = body(as_alice.get(address(turn)))
    assert Attempt.objects.get().score == 1.0
    assert f"Rank {shown}?" in html
    assert f"It is {int(shown) * 32:,}." in html


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "This field is required"),
        ({"number": "seven"}, "is not a number"),
        ({"number": "7 apples"}, "give the result in GB"),
        ({"number": "7", "certainty": "9"}, "Select a valid choice"),
        ({"number": "7", "certainty": ""}, "Say how sure you are."),
    ],
)
def test_an_answer_that_cannot_be_read_is_explained_and_kept(as_alice, fields, message):
    numeric()
    turn = start(as_alice, certainty="on").turns.get()
    html = body(send(as_alice, turn, **{"certainty": "2", **fields}), 422)
    assert message in html
    if fields:
        assert f'value="{fields["number"]}"' in html
    assert not Attempt.objects.exists()


def test_an_answer_of_100_kb_is_refused_and_kept(as_alice, open_question):
    turn = start(as_alice).turns.get()
    typed = "x" * 100_000
    html = body(send(as_alice, turn, typed=typed), 422)
    assert f"at most {MAX_TYPED} characters" in html
    assert typed in html


def test_the_same_answer_twice_counts_once_and_another_one_is_kept_to_read(as_alice, open_question):
    turn = start(as_alice).turns.get()
    assert send(as_alice, turn, typed="first").url == send(as_alice, turn, typed="first").url
    html = body(send(as_alice, turn, typed="second"), 409)
    assert "has an answer already" in html
    assert "second" in html
    assert Attempt.objects.get().typed == "first"


def test_the_form_of_another_question_is_refused_and_kept(as_alice, open_question):
    numeric()
    turns = {turn.question.kind: turn for turn in start(as_alice).turns.all()}
    fields = {"token": str(turns["numeric"].token), "typed": "for the other one"}
    html = body(as_alice.post(address(turns["open"], "answer/"), fields), 409)
    assert "belongs to another question" in html
    assert "for the other one" in html
    assert f'value="{turns["open"].token}"' in html


def test_a_finished_quiz_takes_no_answer_and_loses_nothing(as_alice, open_question):
    sitting = start(as_alice)
    turn = sitting.turns.get()
    as_alice.post(f"/quizzes/{sitting.pk}/finish/")
    html = body(send(as_alice, turn, typed="too late"), 409)
    assert "This one is finished" in html
    assert "too late" in html
    assert not Attempt.objects.exists()


def test_whoever_is_signed_out_keeps_the_typed_text(as_alice, as_charlie, open_question):
    turn = start(as_alice).turns.get()
    html = body(send(as_charlie, turn, typed="It <b>freezes</b>"), 401)
    assert "It &lt;b&gt;freezes&lt;/b&gt;" in html
    assert "You are signed out" in html


def test_the_forms_are_guarded_against_other_sites(alice, open_question):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post("/quizzes/start/", BASIC).status_code == 403


# --- leaving and coming back ------------------------------------------------------------------------------------------


def test_a_draft_is_saved_and_there_on_any_device(as_alice, alice, open_question):
    turn = start(as_alice, certainty="on").turns.get()
    fields = {"token": str(turn.token), "typed": "half a tho", "certainty": "2"}
    saved = as_alice.post(address(turn, "draft/"), fields, headers={"HX-Request": "true"})
    assert "Saved" in body(saved)
    other_device = Client()
    other_device.force_login(alice)
    html = body(other_device.get(turn.sitting.get_absolute_url()))
    assert "half a tho" in html
    assert re.search(r'value="2"[^>]*checked', html)


def test_choices_in_a_draft_are_ticked_and_nothing_is_judged_yet(as_alice, multi):
    turn = start(as_alice).turns.get()
    as_alice.post(address(turn, "draft/"), {"choice": ["0", "3"]}, headers={"HX-Request": "true"})
    html = body(as_alice.get(address(turn)))
    assert html.count("checked") == 2
    assert "errorlist" not in html


def test_without_script_a_button_saves_on_the_way_out(as_alice, open_question):
    turn = start(as_alice).turns.get()
    response = as_alice.post(address(turn, "draft/"), {"typed": "later"}, follow=True)
    assert "Saved. Go on whenever you like" in body(response)
    assert "later" in body(as_alice.get(turn.sitting.get_absolute_url()))


@pytest.mark.parametrize(("headers", "status"), [({"HX-Request": "true"}, 200), ({}, 422)])
def test_a_draft_that_is_too_long_says_so(as_alice, open_question, headers, status):
    turn = start(as_alice).turns.get()
    html = body(as_alice.post(address(turn, "draft/"), {"typed": "x" * 100_000}, headers=headers), status)
    assert "Not saved: the text has 100000 characters" in html


def test_it_goes_on_at_the_first_open_question(as_alice):
    for n in range(3):
        numeric(prompt_en=f"Number {n}?")
    sitting = start(as_alice)
    first, second, third = sitting.turns.all()
    send(as_alice, second, number="7")
    send(as_alice, first, number="7")
    assert third.question.prompt_en in body(as_alice.get(sitting.get_absolute_url()))


# --- marking and follow-ups -------------------------------------------------------------------------------------------


def test_points_are_proposed_from_the_text_and_the_learner_decides(as_alice, open_question):
    turn = start(as_alice).turns.get()
    send(as_alice, turn, typed="It freezes the base.")
    html = body(as_alice.get(address(turn)))
    assert re.search(r'name="made"\s+value="0"\s+checked', html)
    assert not re.search(r'name="made"\s+value="1"\s+checked', html)
    assert Attempt.objects.get().score is None
    mark(as_alice, turn, 1)
    assert (Attempt.objects.get().score, Attempt.objects.get().made_points) == (0.25, [1])


def test_a_thought_answer_is_marked_too(as_alice, open_question):
    turn = start(as_alice).turns.get()
    send(as_alice, turn, typed="")
    html = body(as_alice.get(turn.sitting.get_absolute_url()))
    assert "Thought or said aloud, not typed." in html
    assert "checked" not in html


def test_a_point_that_does_not_exist_is_refused(as_alice, open_question):
    turn = start(as_alice).turns.get()
    send(as_alice, turn, typed="x")
    assert "9 is not one of the available choices" in body(mark(as_alice, turn, 9), 422)
    assert Attempt.objects.get().score is None


def test_marks_before_an_answer_and_after_the_end_are_refused(as_alice, open_question):
    turn = start(as_alice).turns.get()
    assert "Answer the question first" in body(mark(as_alice, turn, 0), 409)
    send(as_alice, turn, typed="x")
    mark(as_alice, turn, 0)
    assert mark(as_alice, turn, 0).status_code == 302
    assert "This one is finished" in body(mark(as_alice, turn, 1), 409)


def test_a_follow_up_is_asked_and_the_path_is_shown(as_alice, open_question):
    make_follow_up(open_question, slug="deeper", prompt_en="And why not full rank?", difficulty=3)
    sitting = start(as_alice, follow_ups=2)
    turn = sitting.turns.get()
    send(as_alice, turn, typed="It freezes the base.")
    mark(as_alice, turn, 0, 1)
    html = body(as_alice.get(sitting.get_absolute_url()))
    assert "And why not full rank?" in html
    assert "one level deeper" in html
    following = sitting.turns.get(step=1)
    send(as_alice, following, typed="")
    mark(as_alice, following)
    html = body(as_alice.get(sitting.get_absolute_url()))
    assert "↳ one level deeper" in html
    assert "transcript-step" in html
    assert following.after == turn


def test_without_follow_ups_none_is_asked(as_alice, open_question):
    make_follow_up(open_question)
    sitting = start(as_alice)
    turn = sitting.turns.get()
    send(as_alice, turn, typed="x")
    mark(as_alice, turn, 0)
    assert Sitting.objects.get().finished_at


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(as_alice) -> Sitting:
    """One right and certain, one wrong and certain, one not answered."""
    for n in range(3):
        numeric(prompt_en=f"Number {n}?", answer_en=f"Worked {n}.")
    sitting = start(as_alice, certainty="on")
    right, wrong, _open = sitting.turns.all()
    send(as_alice, right, number="7", certainty="3")
    send(as_alice, wrong, number="8", certainty="3")
    as_alice.post(f"/quizzes/{sitting.pk}/finish/")
    return sitting


def test_the_report_has_scores_topics_answers_and_calibration(as_alice, finished):
    html = body(as_alice.get(finished.get_absolute_url()))
    for text in ("33 %", "−3", "at most 6", "2/3", "Math", "Worked 0.", "not answered", "Calibration curve"):
        assert text in html
    assert html.count("<svg") >= 1


def test_mistakes_go_into_review(as_alice, alice, finished):
    html = body(as_alice.post(f"/quizzes/{finished.pk}/review/", follow=True))
    assert "2 questions are in today" in html
    wrong = [turn.question_id for turn in finished.turns.all()[1:]]
    assert sorted(Card.objects.filter(owner=alice).values_list("question", flat=True)) == sorted(wrong)
    as_alice.post(f"/quizzes/{finished.pk}/review/")
    assert Card.objects.count() == 2


def test_again_with_the_mistakes(as_alice, finished):
    token = str(uuid.uuid4())
    first = as_alice.post(f"/quizzes/{finished.pk}/again/", {"token": token})
    assert first.url == as_alice.post(f"/quizzes/{finished.pk}/again/", {"token": token}).url
    repeated = Sitting.objects.first()
    assert [t.question_id for t in repeated.turns.all()] == [t.question_id for t in finished.turns.all()[1:]]
    assert repeated.options["certainty"] is True
    assert as_alice.post(f"/quizzes/{finished.pk}/again/", {"token": "x"}).status_code == 400


def test_without_mistakes_there_is_nothing_to_repeat(as_alice):
    numeric()
    sitting = start(as_alice)
    send(as_alice, sitting.turns.get(), number="7")
    assert "Again with my mistakes" not in body(as_alice.get(sitting.get_absolute_url()))
    response = as_alice.post(f"/quizzes/{sitting.pk}/again/", {"token": str(uuid.uuid4())}, follow=True)
    assert "There is no mistake to repeat." in body(response)


def test_the_history_lists_quizzes_and_the_calibration_over_all(as_alice, as_bob, finished):
    start(as_alice)
    html = body(as_alice.get("/quizzes/"))
    for text in ("33 %", "2 of 3 answered", "0 of 3 answered", "Go on", "Calibration curve"):
        assert text in html
    assert "None yet." in body(as_bob.get("/quizzes/"))


# --- access and queries -----------------------------------------------------------------------------------------------


def test_somebody_elses_quiz_does_not_exist(as_alice, as_bob, finished):
    turn = finished.turns.first()
    for page in (finished.get_absolute_url(), address(turn)):
        assert as_bob.get(page).status_code == 404
    for action in ("answer/", "draft/", "mark/"):
        assert as_bob.post(address(turn, action), {"token": str(turn.token), "number": "7"}).status_code == 404
    for action in ("finish", "review", "again"):
        assert as_bob.post(f"/quizzes/{finished.pk}/{action}/", {"token": str(uuid.uuid4())}).status_code == 404


def test_an_interview_is_not_a_quiz(as_alice, finished):
    Sitting.objects.update(kind="interview")
    assert as_alice.get(f"/quizzes/{finished.pk}/").status_code == 404


@pytest.mark.parametrize(
    "page", ["/quizzes/", "/quizzes/new/", "/quizzes/new/count/", "/quizzes/1/", "/quizzes/1/turns/1/"]
)
def test_pages_are_for_those_who_are_signed_in(as_charlie, page):
    assert as_charlie.get(page).url.startswith("/login/")


def queries_of(client: Client, page: str, connection) -> int:
    client.get(page)  # what is cached is cached
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return len(captured)


def test_queries_do_not_grow_with_the_questions(as_alice, open_question, multi):
    from django.db import connection

    def pages(sitting: Sitting) -> list[int]:
        turn_page = queries_of(as_alice, address(sitting.turns.get(question=multi)), connection)
        for turn in sitting.turns.all():
            fields = {"open": {"typed": "x"}, "multi": {"choice": [0]}, "numeric": {"number": "8"}}
            send(as_alice, turn, **fields[turn.question.kind])
            if turn.question.kind == "open":
                mark(as_alice, turn, 0)
        places = [address(sitting.turns.get(question=multi)), sitting.get_absolute_url(), "/quizzes/"]
        return [turn_page, *(queries_of(as_alice, place, connection) for place in places)]

    few = pages(start(as_alice))
    for n in range(4):
        numeric(topic=make_topic(f"topic-{n}"))
        make_question(topic=make_topic(f"topic-{n}"))
    assert pages(start(as_alice)) == few
