"""Versions: one for each change of an item, with what changed, and a way back."""

import pytest

from kb.editing.versions import pieces_between
from kb.models import Point
from kb.services import content_import
from quiz.models import Question
from tests.admin.pages import change_url, save
from tests.content_tree import edited, text, write

POINT = "points/math/rank.yaml"


def history_url(row):
    return change_url(row).replace("/change/", "/history/")


def revert_url(row, version):
    return f"{history_url(row)}{version.pk}/revert/"


def test_an_import_keeps_one_version_of_each_item(rank, why):
    assert [(v.history_type, v.history_change_reason) for v in rank.history.all()] == [("+", "import")]
    assert Question.history.count() == 2
    assert why.history.get().document["rubric"][0]["text"]["en"] == "Says that W stays frozen."


def test_only_what_an_import_changes_gets_a_version(content, rank):
    write(content, POINT, edited(POINT, practice=text("Changed there.")))
    content_import(folder=content)
    content_import(folder=content, force=True)
    assert [v.history_type for v in rank.history.all()] == ["~", "+"]
    assert Point.objects.get(slug="scaling").history.count() == 1


def test_the_history_shows_what_changed_and_who_changed_it(as_staff, rank):
    save(as_staff, rank, practice_en="Large files <b>.")
    html = as_staff.get(history_url(rank)).content.decode()
    assert "<del>Small</del><ins>Large</ins>" in html
    assert "&lt;b&gt;" in html
    assert "· staff" in html


def test_a_version_can_be_made_current_again(as_staff, why):
    first = why.history.get()
    save(as_staff, why, **{"answer_en": "Other.", "rubric-0-text_en": "Other."})
    as_staff.post(revert_url(why, first))
    why.refresh_from_db()
    assert why.answer_en == "The change lies in few directions."
    assert why.rubric.first().text_en == "Says that W stays frozen."
    assert why.follow_ups.count() == 1
    newest = why.history.first()
    assert newest.document == first.document
    assert newest.history_change_reason.startswith("reverted to 2")


def test_a_version_that_no_longer_fits_is_refused(as_staff, rank):
    first = rank.history.get()
    first.document["practice"]["en"] = "[[claim:gone]]"
    first.save()
    response = as_staff.post(revert_url(rank, first), follow=True)
    assert "there is no claim &#x27;gone&#x27;" in response.content.decode()
    rank.refresh_from_db()
    assert rank.practice_en == "Small files."


def test_a_link_reverts_nothing(as_staff, rank):
    first = rank.history.get()
    save(as_staff, rank, practice_en="Other.")
    assert as_staff.get(revert_url(rank, first)).status_code == 302
    rank.refresh_from_db()
    assert rank.practice_en == "Other."


def test_learners_see_no_history(as_alice, rank):
    first = rank.history.get()
    assert as_alice.get(history_url(rank)).url.startswith("/admin/login/")
    assert as_alice.post(revert_url(rank, first)).url.startswith("/admin/login/")


def test_a_computed_verdict_is_no_edit(content):
    from labs.models import Claim
    from labs.services import claims_recompute

    claims_recompute()
    assert {claim.history.count() for claim in Claim.objects.all()} == {1}


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("a b", "a c", [("same", "a "), ("gone", "b"), ("new", "c")]),
        ("低秩矩阵", "高秩矩阵", [("gone", "低"), ("new", "高"), ("same", "秩矩阵")]),
        ("", "x", [("new", "x")]),
    ],
)
def test_differences_are_told_word_by_word(before, after, pieces):
    assert pieces_between(before, after) == pieces


def test_differences_of_huge_texts_are_cut():
    pieces = pieces_between("a\n" * 100_000, "b\n" * 100_000)
    assert [operation for operation, _text in pieces] == ["gone", "new"]
    assert len(pieces[0][1]) < 5000
