"""Files and database in step: export gives back what import took, and no edit is lost on the way."""

from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User

from kb.content.files import read_tree
from kb.content.writer import canonical_files, check_form, write_files
from kb.models import Point, Status
from kb.services import ContentConflict, content_export, content_import
from quiz.models import Attempt, Question
from tests.content_tree import edited, text, write

pytestmark = pytest.mark.django_db
NOT_ITEMS = ("inventory.yaml", "statements.yaml", "verdicts.yaml")
POINT = "points/math/rank.yaml"
OTHER = "points/math/scaling.yaml"
QUESTION = "questions/math/why-low-rank.yaml"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.yaml")}


def canonical_tree(folder: Path) -> Path:
    write_files(folder, canonical_files(read_tree(folder)))
    return folder


def drop_question(folder: Path) -> None:
    """Take the question out of the files, and the link to it."""
    (folder / QUESTION).unlink()
    write(folder, OTHER, edited(OTHER, definition=text("No link any more.")))


@pytest.mark.slow
def test_the_shipped_content_survives_import_and_export_byte_by_byte(tmp_path):
    shipped = settings.BASE_DIR / "content"
    content_import(folder=shipped)
    content_export(folder=tmp_path)
    want = {name: data for name, data in contents(shipped).items() if name not in NOT_ITEMS}
    assert contents(tmp_path) == want


def test_the_shipped_content_is_in_canonical_form():
    shipped = settings.BASE_DIR / "content"
    assert check_form(shipped, read_tree(shipped)) == []


def test_an_edit_made_here_is_exported_and_imported_again(tree):
    canonical_tree(tree)
    content_import(folder=tree)
    Point.objects.filter(slug="rank").update(practice_en="Edited here.\nOn two lines.")
    assert content_export(folder=tree) == [POINT]
    before = contents(tree)
    content_import(folder=tree)
    assert content_export(folder=tree) == []
    assert contents(tree) == before
    assert Point.objects.get(slug="rank").practice_en == "Edited here.\nOn two lines."


@pytest.fixture
def both_edited(tree):
    """The same point edited here and in the files."""
    content_import(folder=tree)
    Point.objects.filter(slug="rank").update(practice_en="Edited here.")
    write(tree, POINT, edited(POINT, practice=text("Edited there.")))
    return tree


def test_an_edit_on_both_sides_is_reported_and_nothing_changes(both_edited):
    with pytest.raises(ContentConflict, match="points/rank"):
        content_import(folder=both_edited)
    assert Point.objects.get(slug="rank").practice_en == "Edited here."


def test_theirs_takes_the_files(both_edited):
    content_import(folder=both_edited, decision="theirs")
    assert Point.objects.get(slug="rank").practice_en == "Edited there."


def test_ours_keeps_the_edit_and_still_knows_it_as_one(both_edited):
    assert content_import(folder=both_edited, decision="ours").kept == ["points/rank"]
    assert Point.objects.get(slug="rank").practice_en == "Edited here."
    with pytest.raises(ContentConflict):
        content_import(folder=both_edited, force=True)


def test_an_edit_here_does_not_block_changes_elsewhere_in_the_files(tree):
    content_import(folder=tree)
    Point.objects.filter(slug="rank").update(practice_en="Edited here.")
    write(tree, OTHER, edited(OTHER, practice=text("Changed there.")))
    assert content_import(folder=tree).kept == ["points/rank"]
    assert Point.objects.get(slug="rank").practice_en == "Edited here."
    assert Point.objects.get(slug="scaling").practice_en == "Changed there."


def test_what_leaves_the_files_leaves_the_site(tree):
    content_import(folder=tree)
    drop_question(tree)
    removed = content_import(folder=tree).removed
    assert removed == ["questions/why-low-rank"]
    assert not Question.objects.exists()


def test_a_question_that_somebody_answered_is_retired_and_keeps_its_answers(tree):
    content_import(folder=tree)
    question = Question.objects.get(slug="why-low-rank")
    user = User.objects.create_user("alice")
    attempt = Attempt.objects.create(owner=user, question=question)
    drop_question(tree)
    content_import(folder=tree)
    question.refresh_from_db()
    assert question.status == Status.RETIRED
    assert Attempt.objects.get() == attempt
