"""Editors save items: checked like content files, versioned, found at once, and never over somebody else's work."""

import pytest
from django.contrib.auth.models import User

from kb.content.files import read_tree
from kb.content.writer import canonical_files, write_files
from kb.markup import MAX_SOURCE
from kb.models import Point, Reference, Topic
from kb.search import search
from kb.services import content_export, content_import
from labs.models import Claim
from quiz.models import Question
from tests.admin.pages import change_url, errors, save, typed
from tests.conftest import client_of


def test_an_edit_is_saved(as_staff, rank):
    assert save(as_staff, rank, practice_en="Edited.\r\nTwice.").status_code == 302
    rank.refresh_from_db()
    assert rank.practice_en == "Edited.\nTwice."
    assert list(rank.leads_to.values_list("slug", flat=True)) == ["scaling"]


@pytest.mark.parametrize("model", [Topic, Reference, Point, Claim, Question])
def test_saving_without_a_change_changes_nothing(as_staff, content, model):
    write_files(content, canonical_files(read_tree(content)))
    content_import(folder=content, force=True)
    for row in model.objects.all():
        versions = row.history.count()
        response = save(as_staff, row)
        assert response.status_code == 302, errors(response)
        assert row.history.count() == versions
    assert content_export(folder=content) == []


def test_an_edited_question_is_exported_and_imported_again(as_staff, content, why):
    write_files(content, canonical_files(read_tree(content)))
    content_import(folder=content, force=True)
    changes = {"answer_en": "Shorter.", "mistakes": "- en: One.\n  zh: 一。\n", "rubric-0-text_en": "Says frozen."}
    assert save(as_staff, why, **changes).status_code == 302
    assert content_export(folder=content) == ["questions/math/why-low-rank.yaml"]
    before = (content / "questions/math/why-low-rank.yaml").read_bytes()
    content_import(folder=content)
    assert content_export(folder=content) == []
    assert (content / "questions/math/why-low-rank.yaml").read_bytes() == before
    assert b"Says frozen." in before


def test_an_edit_here_is_kept_by_the_next_import(as_staff, content, rank):
    save(as_staff, rank, practice_en="Edited.")
    assert content_import(folder=content, force=True).kept == ["points/rank"]


def test_an_edit_can_be_found_at_once_and_the_old_text_no_longer(as_staff, rank):
    save(as_staff, rank, practice_en="Wombats.")
    assert [hit.slug for hit in search("wombats", "en")] == ["rank"]
    save(as_staff, rank, practice_en="Koalas.")
    assert search("wombats", "en") == []
    assert [hit.slug for hit in search("koalas", "en")] == ["rank"]


def test_an_edit_changes_which_claims_a_point_shows(as_staff, rank):
    assert [claim.slug for claim in rank.claims.all()] == ["lora-params"]
    save(as_staff, rank, definition_en="Nothing.", definition_zh="无。")
    assert list(rank.claims.all()) == []


def test_an_edited_claim_is_judged_anew(as_staff):
    claim = Claim.objects.get(slug="lora-params")
    assert claim.verdict == Claim.REPRODUCED
    checks = (
        "- expected: 257\n  formula: lora_layer_parameters\n  arguments:\n    d_in: 16\n    d_out: 16\n    rank: 8\n"
    )
    assert save(as_staff, claim, checks=checks).status_code == 302
    claim.refresh_from_db()
    assert claim.verdict == Claim.REFUTED


def test_rubric_points_can_be_reordered_added_and_removed(as_staff, why):
    page = typed(as_staff.get(change_url(why)))
    page |= {"rubric-0-order": "9", "rubric-1-DELETE": "on", "rubric-TOTAL_FORMS": "3"}
    new = {"weight": 2, "dimension": "evidence", "text_en": "New.", "text_zh": "新。", "order": "1"}
    page |= {f"rubric-2-{name}": value for name, value in new.items()} | {"rubric-2-terms_en": "a\r\nb c"}
    response = as_staff.post(change_url(why), page)
    assert response.status_code == 302, errors(response)
    rubric = why.rubric.values_list("position", "text_en", "terms_en")
    assert list(rubric) == [(0, "New.", ["a", "b c"]), (1, "Says that W stays frozen.", [])]


def test_a_follow_up_can_be_added(as_staff, why):
    page = as_staff.get(f"/admin/quiz/question/add/?parent={why.pk}")
    new = {
        "slug": "why-low-rank-next",
        "difficulty": 3,
        **{f"{name}_{language}": "文 text" for name in ("prompt", "short", "answer") for language in ("en", "zh")},
        "rubric-TOTAL_FORMS": 2,
    }
    for n in (0, 1):
        new |= {f"rubric-{n}-weight": 1, f"rubric-{n}-dimension": "concept"}
        new |= {f"rubric-{n}-text_en": "Text.", f"rubric-{n}-text_zh": "文。"}
    response = as_staff.post(f"/admin/quiz/question/add/?parent={why.pk}", typed(page) | new)
    assert response.status_code == 302, errors(response)
    added = Question.objects.get(slug="why-low-rank-next")
    assert (added.parent, added.root, added.topic, added.status, added.position) == (
        why,
        why,
        why.topic,
        "published",
        1,
    )


def test_a_question_links_to_its_follow_ups(as_staff, why):
    html = as_staff.get(change_url(why)).content.decode()
    assert change_url(why.follow_ups.get()) in html
    assert f"/admin/quiz/question/add/?parent={why.pk}" in html


# --- checks -----------------------------------------------------------------------------------------------------------

REFUSED = [
    ({"practice_zh": ""}, "practice_zh", "there is no text"),
    ({"practice_en": "[[claim:nothing]]"}, "practice_en", "there is no claim 'nothing'"),
    ({"practice_en": "[@nobody]"}, "practice_en", "there is no reference 'nobody'"),
    ({"practice_en": r"$\frac{1$"}, "practice_en", "end of input"),
    ({"practice_en": "$2 + 2 = 5$"}, "practice_en", "does not hold"),
    ({"practice_en": "It takes 73.8 GB."}, "practice_en", "needs a [[claim:…]]"),
    ({"title_en": "x" * 201}, "title_en", "at most 200 characters"),
]


@pytest.mark.parametrize(("change", "field", "message"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_files_may_not_say_editors_may_not_either(as_staff, rank, change, field, message):
    response = save(as_staff, rank, **change)
    assert response.status_code == 200
    assert message in errors(response)[field][0]
    assert Point.objects.get(slug="rank").practice_en == "Small files."


def test_prerequisites_do_not_run_in_a_circle(as_staff, rank):
    response = save(as_staff, rank, prerequisites=[Point.objects.get(slug="scaling").pk])
    assert "run in a circle" in errors(response)["prerequisites"][0]
    assert not rank.prerequisites.exists()


def test_an_error_in_a_part_is_shown_at_the_part(as_staff, why):
    response = save(as_staff, why, **{"rubric-1-text_en": "[[claim:nothing]]"})
    formset = response.context["inline_admin_formsets"][0].formset
    assert "no claim 'nothing'" in formset.forms[1].errors["text_en"][0]


def test_a_question_needs_what_its_kind_needs(as_staff, why):
    response = save(as_staff, why, kind="single")
    assert "a question of kind single needs choices" in response.content.decode()
    why.refresh_from_db()
    assert why.kind == "open"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- en: [", "not valid YAML"),
        ("a: &x 1\nb: *x", "aliases"),
        ("just words", "has to be a list"),
        ("[" * 99, "YAML"),
    ],
)
def test_broken_yaml_is_refused_with_its_line(as_staff, why, text, message):
    response = save(as_staff, why, mistakes=text)
    assert message in errors(response)["mistakes"][0]


def test_a_paste_of_5_mb_is_refused_and_kept(as_staff, rank):
    paste = "word " * 1_048_576
    response = save(as_staff, rank, practice_en=paste)
    assert response.status_code == 200
    assert f"at most {MAX_SOURCE} characters" in errors(response)["practice_en"][0]
    assert response.content.decode().count("word word") > 500_000


def test_a_form_of_5_mb_is_refused_for_everybody_else(as_alice):
    response = as_alice.post("/questions/why-low-rank/reveal/", {"typed": "x" * 5_242_880})
    assert response.status_code == 413


# --- two editors ------------------------------------------------------------------------------------------------------


@pytest.fixture
def second(db):
    return client_of(User.objects.create_superuser("second", password="second-password"))


def test_the_second_of_two_editors_is_told_and_loses_nothing(as_staff, second, rank):
    theirs = typed(second.get(change_url(rank)))
    save(as_staff, rank, practice_en="The first editor's text.")
    response = second.post(change_url(rank), theirs | {"practice_en": "The second editor's words."})
    html = response.content.decode()
    assert response.status_code == 200
    assert "staff saved this item after you opened it" in html
    assert "The second editor&#x27;s words." in html
    assert "first" in html
    rank.refresh_from_db()
    assert rank.practice_en == "The first editor's text."

    again = second.post(change_url(rank), typed(response))
    assert again.status_code == 302
    rank.refresh_from_db()
    assert rank.practice_en == "The second editor's words."
    assert "The first editor's text." in [version.document["practice"]["en"] for version in rank.history.all()]


def test_a_change_of_the_rubric_counts_too(as_staff, second, why):
    theirs = typed(second.get(change_url(why)))
    save(as_staff, why, **{"rubric-0-text_en": "Changed."})
    response = second.post(change_url(why), theirs)
    assert response.status_code == 200
    assert "rubric" in response.content.decode()
    assert why.rubric.first().text_en == "Changed."


def test_a_form_without_a_version_is_refused(as_staff, rank):
    response = save(as_staff, rank, practice_en="x", version="")
    assert response.status_code == 200


# --- who may ----------------------------------------------------------------------------------------------------------


def test_learners_edit_nothing(as_alice, as_charlie, rank):
    for client in (as_alice, as_charlie):
        response = client.post(change_url(rank), {"practice_en": "x"})
        assert response.status_code == 302
        assert response.url.startswith("/admin/login/")


def test_what_the_files_hold_is_not_deleted_here(as_staff, rank):
    address = change_url(rank).replace("change", "delete")
    assert as_staff.post(address, {"post": "yes"}).status_code == 403


def test_what_is_only_here_can_be_deleted_and_is_found_no_more(as_staff):
    point = Point.objects.create(slug="own", topic=Topic.objects.get(), title_en="Wombat")
    as_staff.post(change_url(point).replace("change", "delete"), {"post": "yes"})
    assert not Point.objects.filter(slug="own").exists()
    assert Point.history.get(slug="own").history_type == "-"


def test_retired_questions_can_only_be_read(as_staff, why):
    Question.objects.filter(pk=why.pk).update(status="retired")
    assert as_staff.get(change_url(why)).status_code == 200
    assert as_staff.post(change_url(why), {}).status_code == 403
