"""A whole interview, as a learner goes through it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from quiz.interview.services import FOLLOW_UPS, interview_finish
from quiz.models import Attempt, Card, Question, Sitting, Turn
from quiz.review.queries import is_asked_today
from quiz.review.services import study_settings
from tests.builders import make_follow_up, make_question, make_topic
from tests.conftest import client_of
from tests.interview.conftest import current, send_answer, send_marks

START = {"token": "5a0a7a3c-6d0e-4a0c-9a44-0d3b3a1f0001", "length": "questions", "questions": 2, "level": 3}


def shift(turn: Turn, **ago: float) -> None:
    """As if the question had been asked that long ago."""
    Turn.objects.filter(pk=turn.pk).update(asked_at=timezone.now() - timedelta(**ago))


def test_a_learner_goes_from_the_form_to_the_report(as_alice, bank):
    response = as_alice.post("/interviews/", START)
    sitting = Sitting.objects.get()
    assert response.headers["Location"] == f"/interviews/{sitting.pk}/"
    for position in (1, 2):
        for step in range(FOLLOW_UPS + 1):
            turn = current(sitting)
            assert (turn.position, turn.step) == (position, step)
            page = as_alice.get(f"/interviews/{sitting.pk}/")
            assert turn.question.prompt_en in page.text
            assert turn.question.answer_en not in page.text
            send_answer(as_alice, turn, f"Answer {position}.{step}", certainty="2")
            page = as_alice.get(f"/interviews/{sitting.pk}/")
            assert turn.question.answer_en in page.text
            assert f"Answer {position}.{step}" in page.text
            response = send_marks(as_alice, turn, 0)
    sitting.refresh_from_db()
    assert sitting.finished_at is not None
    assert response.headers["Location"] == f"/interviews/{sitting.pk}/report/"
    assert Attempt.objects.count() == 6
    page = as_alice.get(f"/interviews/{sitting.pk}/report/")
    assert "75 %" in page.text
    assert "Answer 2.2" in page.text
    assert as_alice.get(f"/interviews/{sitting.pk}/").headers["Location"].endswith("/report/")


def test_the_form_sent_twice_begins_one_interview(as_alice, bank):
    first, second = (as_alice.post("/interviews/", START) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert Sitting.objects.count() == 1
    assert Turn.objects.count() == 1


def test_the_path_keeps_what_was_missed(as_alice, start):
    sitting = start()
    first = current(sitting)
    Question.objects.filter(parent=first.question).update(when_en=first.question.rubric.first().text_en)
    send_answer(as_alice, first, "Only the second point.")
    send_marks(as_alice, first, 1)
    follow_up = current(sitting)
    assert (follow_up.after_id, follow_up.reason, follow_up.missed) == (first.pk, "missed", 0)
    interview_finish(sitting)
    page = as_alice.get(f"/interviews/{sitting.pk}/report/").text
    assert "follows up what was missed" in page


def test_marks_sent_twice_go_on_once(as_alice, start):
    sitting = start()
    turn = current(sitting)
    send_answer(as_alice, turn, "x")
    send_marks(as_alice, turn, 0)
    send_marks(as_alice, turn, 0)
    assert sitting.turns.count() == 2


def test_an_answer_sent_twice_counts_once(as_alice, start):
    turn = current(start())
    assert send_answer(as_alice, turn, "x").status_code == 302
    assert send_answer(as_alice, turn, "x").status_code == 302
    assert Attempt.objects.count() == 1


def test_another_answer_to_an_answered_question_is_shown_but_not_kept(as_alice, start):
    turn = current(start())
    send_answer(as_alice, turn, "from the laptop")
    response = send_answer(as_alice, turn, "from the phone")
    assert response.status_code == 409
    assert "from the phone" in response.text
    assert Attempt.objects.get().typed == "from the laptop"


def test_an_answer_after_the_end_is_shown_but_not_kept(as_alice, start):
    sitting = start()
    turn = current(sitting)
    as_alice.post(f"/interviews/{sitting.pk}/finish/")
    response = send_answer(as_alice, turn, "too late")
    assert response.status_code == 409
    assert "too late" in response.text
    assert not Attempt.objects.exists()


def test_the_server_measures_the_time_and_notes_what_is_over(as_alice, start):
    sitting = start()
    turn = current(sitting)
    shift(turn, seconds=turn.seconds + 60)
    send_answer(as_alice, turn, "A long answer, not cut.")
    spent = Attempt.objects.get().milliseconds
    assert 1000 * (turn.seconds + 60) <= spent <= 1000 * (turn.seconds + 90)
    page = as_alice.get(f"/interviews/{sitting.pk}/").text
    assert "over time" in page
    assert "A long answer, not cut." in page


@pytest.mark.parametrize(("clock", "is_open"), [(True, True), (False, False)])
def test_the_clock_can_be_hidden(as_alice, start, clock, is_open):
    sitting = start(clock=clock)
    page = as_alice.get(f"/interviews/{sitting.pk}/").text
    details = page.split('<details class="clock"')[1].split(">")[0]
    assert ("open" in details.split()) == is_open


def test_it_ends_when_the_time_is_up_and_not_before_the_answer_is_marked(as_alice, start):
    sitting = start(minutes=15)
    turn = current(sitting)
    shift(turn, minutes=20)
    send_answer(as_alice, turn, "x")
    sitting.refresh_from_db()
    assert sitting.finished_at is None
    response = send_marks(as_alice, turn, 0, 1)
    assert response.headers["Location"].endswith("/report/")
    assert sitting.turns.count() == 1


def test_the_last_question_gets_no_more_than_what_is_left(as_alice, start):
    sitting = start(minutes=15)
    turn = current(sitting)
    shift(turn, minutes=14)
    send_answer(as_alice, turn, "x")
    send_marks(as_alice, turn, 0)
    assert 30 <= current(sitting).seconds <= 60


def test_marking_takes_none_of_the_time(as_alice, start):
    sitting = start(minutes=15)
    turn = current(sitting)
    send_answer(as_alice, turn, "x")
    Turn.objects.filter(pk=turn.pk).update(answered_at=timezone.now() - timedelta(hours=5))
    send_marks(as_alice, turn, 0)
    assert sitting.turns.count() == 2


def test_an_interview_that_was_left_is_resumed_with_a_new_clock(as_alice, start):
    sitting = start()
    turn = current(sitting)
    as_alice.post(f"/interviews/{sitting.pk}/turns/{turn.pk}/draft/", {"typed": "Half a sentence"})
    shift(turn, days=2)
    page = as_alice.get(f"/interviews/{sitting.pk}/")
    assert "You left this interview" in page.text
    assert as_alice.post(f"/interviews/{sitting.pk}/resume/").status_code == 302
    page = as_alice.get(f"/interviews/{sitting.pk}/")
    assert "Half a sentence" in page.text
    turn.refresh_from_db()
    assert timezone.now() - turn.asked_at < timedelta(minutes=1)


def test_an_interview_that_was_left_can_be_finished_and_keeps_the_draft(as_alice, start):
    sitting = start()
    turn = current(sitting)
    as_alice.post(f"/interviews/{sitting.pk}/turns/{turn.pk}/draft/", {"typed": "Half a sentence"})
    shift(turn, days=2)
    as_alice.post(f"/interviews/{sitting.pk}/finish/")
    page = as_alice.get(f"/interviews/{sitting.pk}/report/")
    assert "Half a sentence" in page.text
    assert "Nothing was answered." in page.text


def test_the_draft_comes_back_on_another_device(as_alice, start, alice):
    sitting = start()
    turn = current(sitting)
    url = f"/interviews/{sitting.pk}/turns/{turn.pk}/draft/"
    assert as_alice.post(url, {"typed": "so far", "certainty": "3", "csrfmiddlewaretoken": "x"}).status_code == 204
    turn.refresh_from_db()
    assert turn.draft == {"typed": ["so far"], "certainty": ["3"]}
    page = client_of(alice).get(f"/interviews/{sitting.pk}/").text
    assert "so far" in page
    assert page.split('value="3"')[1].split(">")[0].endswith(" checked")


def test_leaving_saves_what_is_typed(as_alice, start):
    sitting = start()
    turn = current(sitting)
    url = f"/interviews/{sitting.pk}/turns/{turn.pk}/draft/"
    response = as_alice.post(url, {"typed": "for later", "leave": ""}, follow=True)
    assert "Go on whenever you like" in response.text
    assert "not finished: go on" in response.text
    turn.refresh_from_db()
    assert turn.draft == {"typed": ["for later"]}


def test_who_is_signed_out_meanwhile_keeps_what_was_typed(as_charlie, start):
    sitting = start()
    response = send_answer(as_charlie, current(sitting), "a long thought", certainty="2")
    assert response.status_code == 401
    assert ">a long thought</textarea>" in response.text
    assert f"next=/interviews/{sitting.pk}/" in response.text
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("letters", [20_001, 100_000])
def test_a_text_that_is_too_long_is_refused_and_not_lost(as_alice, start, letters):
    sitting = start()
    turn = current(sitting)
    response = send_answer(as_alice, turn, "x" * letters)
    assert response.status_code == 422
    assert "x" * letters in response.text
    assert "20000" in response.text
    response = as_alice.post(f"/interviews/{sitting.pk}/turns/{turn.pk}/draft/", {"typed": "x" * letters})
    assert response.status_code == 413
    assert "20000" in response.text


def test_a_graded_question_is_judged_at_once_and_goes_on(as_alice, alice, start):
    Question.objects.update(status="draft")
    numeric = make_question(kind="numeric", spec={"value": 8.0, "tolerance": 0.01}, topic=make_topic("numbers"))
    make_follow_up(numeric)
    sitting = start(questions=1)
    turn = current(sitting)
    assert turn.question == numeric
    assert send_answer(as_alice, turn, number="eight").status_code == 422
    send_answer(as_alice, turn, number="8")
    assert "Right" in as_alice.get(f"/interviews/{sitting.pk}/").text
    send_marks(as_alice, turn)
    assert current(sitting).step == 1


def test_the_level_goes_up_after_success(as_alice, start):
    hard = make_question(difficulty=4, topic=make_topic("hard"))
    Question.objects.exclude(parent=None).update(status="draft")
    sitting = start()
    turn = current(sitting)
    send_answer(as_alice, turn, "x")
    send_marks(as_alice, turn, 0, 1)
    assert (current(sitting).question, current(sitting).reason) == (hard, "level")


def test_the_start_needs_a_number_of_questions_and_says_so(as_alice, bank):
    response = as_alice.post("/interviews/", START | {"questions": ""})
    assert response.status_code == 422
    assert "Say how many questions, from 1 to 30." in response.text
    response = as_alice.post("/interviews/", START | {"questions": "31"})
    assert response.status_code == 422
    assert "30" in response.text
    assert not Sitting.objects.exists()


@pytest.mark.parametrize("field", [{"length": "17"}, {"level": "9"}, {"topics": "nothing"}, {"token": "x"}])
def test_the_start_refuses_what_does_not_exist(as_alice, bank, field):
    assert as_alice.post("/interviews/", START | field).status_code == 422
    assert not Sitting.objects.exists()


def test_it_speaks_chinese(as_alice, bank):
    page = as_alice.get("/interviews/", headers={"accept-language": "zh-hans"}).text
    for text in ("模拟面试", "30 分钟", "4 级：高级"):
        assert text in page


def test_without_any_question_it_says_so(as_alice):
    response = as_alice.post("/interviews/", START)
    assert response.status_code == 422
    assert "No question matches" in response.text
    assert not Sitting.objects.exists()


def test_only_the_chosen_topics_are_asked(as_alice, bank):
    wanted = make_question(topic=make_topic("wanted"))
    as_alice.post("/interviews/", START | {"topics": ["wanted"]})
    assert Turn.objects.get().question == wanted


def test_the_report_puts_questions_into_review(as_alice, alice, start):
    sitting = start(questions=1)
    turn = current(sitting)
    other = make_question()
    send_answer(as_alice, turn, "x")
    as_alice.post(f"/interviews/{sitting.pk}/finish/")
    url = f"/interviews/{sitting.pk}/review/"
    for _ in range(2):
        response = as_alice.post(url, {"question": [turn.question_id, other.pk, "x"]}, follow=True)
        assert "1 question is in your review." in response.text
    card = Card.objects.get(owner=alice)
    assert card.question_id == turn.question_id
    assert is_asked_today(card, timezone.now(), study_settings(alice))
