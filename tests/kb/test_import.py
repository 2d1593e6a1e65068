"""Importing content: what is in the files gets into the database, once, and only when all of it is right."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from kb.content import registry
from kb.models import ContentImport, Point, Reference, Topic
from kb.services import content_import
from labs.models import Claim
from quiz.models import Question
from tests.content_tree import FILES, edited, text, write

pytestmark = pytest.mark.django_db
POINT = "points/math/rank.yaml"


def run(command: str, **options) -> str:
    out = StringIO()
    call_command(command, stdout=out, **options)
    return out.getvalue()


def test_it_brings_every_kind_into_the_database(tree):
    report = content_import(folder=tree)
    assert report.counts == {"topics": 1, "references": 1, "points": 2, "claims": 3, "questions": 1}
    assert Topic.objects.get().title_zh == "数学"
    assert Reference.objects.get().key == "hu2021"
    rank, scaling = Point.objects.all()
    assert list(scaling.prerequisites.all()) == [rank]
    assert [c.slug for c in rank.claims.all()] == ["lora-params"]
    question, follow_up = Question.objects.order_by("pk")
    assert (follow_up.parent, follow_up.root, follow_up.when_en) == (question, question, "said capacity")
    assert [(p.position, p.weight) for p in question.rubric.all()] == [(0, 3), (1, 1)]
    assert [c.slug for c in question.claims.all()] == ["lora-params"]


def test_it_computes_the_verdicts(tree):
    content_import(folder=tree)
    verdicts = dict(Claim.objects.values_list("slug", "verdict"))
    assert verdicts == {"lora-params": "reproduced", "paper-says": "cited", "loss-falls": "awaiting"}


def test_the_same_tree_twice_changes_nothing(tree, django_assert_num_queries):
    assert content_import(folder=tree).changed
    with django_assert_num_queries(1):
        assert not content_import(folder=tree).changed
    assert ContentImport.objects.count() == 1


def test_force_reads_an_unchanged_tree_again_and_keeps_the_rows(tree):
    content_import(folder=tree)
    before = set(Question.objects.values_list("pk", flat=True))
    Point.objects.update(practice_en="edited")
    assert content_import(folder=tree, force=True).kept == ["points/rank", "points/scaling"]
    assert Point.objects.get(slug="rank").practice_en == "edited"
    assert set(Question.objects.values_list("pk", flat=True)) == before


def test_a_changed_file_updates_its_row(tree):
    content_import(folder=tree)
    rank = Point.objects.get(slug="rank")
    write(tree, POINT, edited(POINT, practice=text("New."), definition=text("No claim any more.")))
    content_import(folder=tree)
    rank.refresh_from_db()
    assert rank.practice_en == "New."
    assert list(rank.claims.all()) == []


def test_a_dry_run_leaves_the_database_as_it_was(tree):
    assert run("import_content", folder=tree, dry_run=True).startswith("Would import 1 topics, ")
    assert (Topic.objects.count(), Claim.objects.count(), ContentImport.objects.count()) == (0, 0, 0)


def test_a_broken_tree_changes_nothing_and_is_explained(tree):
    content_import(folder=tree)
    write(tree, "topics.yaml", {"topics": [FILES["topics.yaml"]["topics"][0] | {"title": text("Changed")}]})
    write(tree, POINT, edited(POINT, practice=text("[[claim:nothing]]")))
    with pytest.raises(CommandError) as refused:
        run("import_content", folder=tree)
    assert str(refused.value).splitlines() == [
        "Nothing was imported:",
        f"{POINT}:1: practice (en): there is no claim 'nothing' [dead-link]",
    ]
    assert Topic.objects.get().title_en == "Mathematics"


def test_the_report_can_be_json(tree):
    assert json.loads(run("import_content", folder=tree, json=True))["counts"]["points"] == 2


def test_check_content_lists_problems_as_json(tree):
    write(tree, POINT, edited(POINT, practice=text("[[claim:nothing]]")))
    out = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("check_content", folder=tree, json=True, stdout=out)
    assert stopped.value.code == 1
    document = json.loads(out.getvalue())
    message = "practice (en): there is no claim 'nothing'"
    assert document["errors"] == [{"file": POINT, "line": 1, "code": "dead-link", "message": message}]
    assert document["counts"]["claims"] == 3


def test_check_content_of_a_good_tree_succeeds(tree):
    assert run("check_content", folder=tree) == "0 errors, 0 warnings\n"


def test_check_content_needs_no_database(tree, django_assert_num_queries):
    with django_assert_num_queries(0):
        run("check_content", folder=tree)


def test_a_changed_formula_is_a_reason_to_import_again(tree, monkeypatch):
    content_import(folder=tree)
    monkeypatch.setattr(registry, "code_versions", [lambda: "another version"])
    monkeypatch.setattr("kb.services.code_versions", registry.code_versions)
    assert content_import(folder=tree).changed
