"""Numbers recorded on what has changed since."""

import json
from importlib.metadata import version

import pytest

from labs.models import Claim
from labs.schema import CheckSource
from labs.services import finding_from_reference
from labs.staleness import Moved, libraries_moved, weights_moved
from tests.builders import LOSS_CHECK, add_values, make_run

POINT = "rank=64,scaling=double"
MODEL = {"model": {"name": "smollm2-135m", "sha256": "old"}}


@pytest.fixture
def prepared(settings, tmp_path):
    """A model prepared here, with other weights than those of MODEL."""
    settings.MODELS_DIR = tmp_path
    (tmp_path / "smollm2-135m").mkdir()
    (tmp_path / "smollm2-135m" / "store.json").write_text(json.dumps({"sha256": "new"}))


def test_other_weights_are_named(prepared):
    assert weights_moved(MODEL) == [Moved("smollm2-135m", "old", "new")]


def test_weights_that_are_not_here_are_not_known(settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    assert weights_moved(MODEL) == weights_moved({}) == weights_moved({"model": {"name": "", "sha256": ""}}) == []


def test_a_library_of_another_version_is_named():
    here = version("Django")
    environment = {"versions": {"python": "2.7", "Django": "1.0+cpu", "pydantic": version("pydantic") + "+cpu"}}
    assert libraries_moved(environment) == [Moved("Django", "1.0", here)]


def test_a_library_that_is_not_installed_is_not_known():
    assert libraries_moved({"versions": {"no-such-library": "1.0"}}) == []


@pytest.mark.django_db
def test_numbers_of_other_weights_decide_nothing(prepared):
    run = make_run(preset="standard", environment=MODEL)
    add_values(run, "validation_loss", POINT, 0.6, 0.7, 0.8)
    finding = finding_from_reference(CheckSource(**LOSS_CHECK))
    assert (finding.verdict, finding.reason) == (Claim.AWAITING, "stale")


@pytest.mark.django_db
def test_numbers_of_another_library_still_decide(as_charlie):
    run = make_run(preset="standard", environment={"versions": {"Django": "1.0"}})
    add_values(run, "validation_loss", POINT, 0.6, 0.7, 0.8)
    assert finding_from_reference(CheckSource(**LOSS_CHECK)).verdict == Claim.REPRODUCED
    assert f"Django 1.0 → {version('Django')}" in as_charlie.get(run.get_absolute_url()).content.decode()
