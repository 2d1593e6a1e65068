import pytest

from kb.models import Point
from kb.services import content_import
from quiz.models import Question


@pytest.fixture(autouse=True)
def content(db, tree):
    """The small content folder, imported."""
    content_import(folder=tree)
    return tree


@pytest.fixture
def rank() -> Point:
    return Point.objects.get(slug="rank")


@pytest.fixture
def why() -> Question:
    return Question.objects.get(slug="why-low-rank")
