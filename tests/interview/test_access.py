"""Who may see and do what; other methods; how many queries the pages need."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from quiz.models import Attempt
from tests.interview.conftest import current, send_answer, send_marks

READ = ["", "report/", "turns/{turn}/advice/"]
WRITE = ["resume/", "finish/", "review/", "turns/{turn}/draft/", "turns/{turn}/answer/", "turns/{turn}/mark/"]


@pytest.fixture
def sitting(start):
    return start()


def url(sitting, path: str) -> str:
    return f"/interviews/{sitting.pk}/" + path.format(turn=current(sitting).pk)


@pytest.mark.parametrize("path", READ)
def test_others_do_not_find_it(as_bob, sitting, path):
    assert as_bob.get(url(sitting, path)).status_code == 404


@pytest.mark.parametrize("path", WRITE)
def test_others_cannot_write_to_it(as_bob, sitting, path):
    assert as_bob.post(url(sitting, path), {"token": current(sitting).token, "typed": "x"}).status_code == 404
    sitting.refresh_from_db()
    assert sitting.finished_at is None
    assert current(sitting).draft == {}
    assert not Attempt.objects.exists()


@pytest.mark.parametrize("path", WRITE)
def test_it_is_written_to_by_post_only(as_alice, sitting, path):
    assert as_alice.get(url(sitting, path)).status_code == 405


@pytest.mark.parametrize("path", READ)
def test_it_is_read_by_get_only(as_alice, sitting, path):
    assert as_alice.post(url(sitting, path)).status_code == 405


@pytest.mark.parametrize("path", ["/interviews/", "/interviews/1/", "/interviews/1/report/"])
def test_one_has_to_sign_in(as_charlie, db, path):
    assert as_charlie.get(path).headers["Location"] == f"/login/?next={path}"


def test_a_turn_of_another_interview_is_not_found(as_alice, sitting, start):
    other = current(start())
    path = f"/interviews/{sitting.pk}/turns/{other.pk}/answer/"
    assert as_alice.post(path, {"token": other.token}).status_code == 404


def test_a_token_of_somebody_else_begins_nothing(as_bob, sitting):
    start = {"token": sitting.token, "length": "30", "level": 3}
    assert as_bob.post("/interviews/", start).status_code == 400
    assert sitting.owner.sittings.count() == 1


def test_a_form_of_another_question_is_refused(as_alice, sitting, start):
    response = as_alice.post(url(sitting, "turns/{turn}/answer/"), {"token": current(start()).token, "typed": "x"})
    assert response.status_code == 400
    assert not Attempt.objects.exists()


def test_a_rubric_point_that_does_not_exist_is_refused(as_alice, sitting):
    turn = current(sitting)
    send_answer(as_alice, turn, "x")
    response = send_marks(as_alice, turn, 7)
    assert response.status_code == 422
    assert "7" in response.text
    assert sitting.turns.count() == 1


def test_marks_before_an_answer_lead_back_to_the_question(as_alice, sitting):
    assert send_marks(as_alice, current(sitting), 0).headers["Location"] == sitting.get_absolute_url()
    assert sitting.turns.count() == 1


def test_marks_after_the_end_lead_to_the_report(as_alice, sitting):
    turn = current(sitting)
    send_answer(as_alice, turn, "x")
    as_alice.post(url(sitting, "finish/"))
    response = as_alice.post(url(sitting, "turns/{turn}/mark/"), {"made": 0}, follow=True)
    assert "its marks do not change any more" in response.text
    assert Attempt.objects.get().score is None
    assert "Not marked: it does not count." in response.text


def test_an_interview_that_is_not_finished_has_no_report(as_alice, sitting):
    assert as_alice.get(url(sitting, "report/")).headers["Location"] == sitting.get_absolute_url()


def queries_of(client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


def play(client, sitting, turns: int) -> None:
    for _ in range(turns):
        turn = current(sitting)
        send_answer(client, turn, "x")
        send_marks(client, turn, 0)


def test_the_report_needs_the_same_queries_for_any_length(as_alice, start):
    short, long = start(questions=2), start(questions=4)
    for sitting, turns in ((short, 2), (long, 8)):
        play(as_alice, sitting, turns)
        as_alice.post(url(sitting, "finish/"))
    as_alice.get("/")
    assert queries_of(as_alice, url(short, "report/")) == queries_of(as_alice, url(long, "report/"))


def test_the_list_needs_the_same_queries_for_any_number(as_alice, start):
    play(as_alice, start(), 2)
    as_alice.get("/")
    one = queries_of(as_alice, "/interviews/")
    for _ in range(4):
        play(as_alice, start(), 2)
    assert queries_of(as_alice, "/interviews/") == one


def test_a_question_needs_the_same_queries_late_in_the_interview(as_alice, start):
    sitting = start(questions=5)
    as_alice.get("/")
    first = queries_of(as_alice, url(sitting, ""))
    play(as_alice, sitting, 6)
    assert current(sitting).step == 0
    assert queries_of(as_alice, url(sitting, "")) == first
