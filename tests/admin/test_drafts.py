"""Draft, in review, published: what readers see, and what editors see before."""

import pytest

from kb.models import Point
from kb.search import search
from quiz.models import Question


def act(client, model, action, *rows):
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/{model}/", data, follow=True)


@pytest.mark.parametrize(
    ("action", "status"), [("send_to_review", "review"), ("back_to_draft", "draft"), ("publish", "published")]
)
def test_actions_set_the_status(as_staff, rank, action, status):
    rank.status = "draft" if status == "published" else "published"
    rank.save()
    act(as_staff, "kb/point", action, rank)
    rank.refresh_from_db()
    assert rank.status == status
    assert rank.history.first().history_change_reason == f"status: {status}"


def test_a_draft_is_for_editors_only(as_staff, as_alice, as_charlie, rank):
    act(as_staff, "kb/point", "back_to_draft", rank)
    assert as_charlie.get("/points/rank/").status_code == 404
    assert as_alice.get("/points/rank/").status_code == 404
    assert "only editors see this page" in as_staff.get("/points/rank/").content.decode()
    assert search("rank", "en", kind="point") == []


def test_follow_ups_go_with_their_root(as_staff, as_charlie, why):
    act(as_staff, "quiz/question", "back_to_draft", why, why.follow_ups.get())
    assert set(Question.objects.values_list("status", flat=True)) == {"draft"}
    assert search("capacity", "en", kind="question") == []
    for slug in ("why-low-rank", "why-low-rank-when-not"):
        assert as_charlie.get(f"/questions/{slug}/answer/").status_code == 404
        assert as_staff.get(f"/questions/{slug}/answer/").status_code == 200
    act(as_staff, "quiz/question", "publish", why)
    assert {hit.slug for hit in search("capacity", "en", kind="question")} == {"why-low-rank-when-not"}


def test_a_published_page_says_nothing_of_drafts(as_staff, rank):
    assert "only editors see this page" not in as_staff.get("/points/rank/").content.decode()


def test_learners_publish_nothing(as_alice, rank):
    Point.objects.filter(pk=rank.pk).update(status="draft")
    act(as_alice, "kb/point", "publish", rank)
    rank.refresh_from_db()
    assert rank.status == "draft"
