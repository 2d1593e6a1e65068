"""verify_claims: verdicts against the accepted ones, and runs made again."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from kb.services import content_import
from labs.models import Claim, MetricValue, Run
from labs.services import run_request
from tests.builders import COUNT_CHECK, FORMULA_CHECK, add_values, make_claim, make_run

pytestmark = pytest.mark.django_db
POINT = "rank=2,scaling=double"
TINY = {"model": "tiny", "ranks": [2], "scalings": ["double"], "steps": 2}
TINY_PARAMETERS = 2048  # 2 × the features of the tiny model (see test_experiments)


@pytest.fixture
def folder(settings, tmp_path):
    settings.CONTENT_DIR = tmp_path
    return tmp_path


def verify(*arguments: str) -> tuple[dict, int]:
    """The document and the exit status."""
    out, status = StringIO(), 0
    try:
        call_command("verify_claims", "--json", *arguments, stdout=out, stderr=StringIO())
    except SystemExit as end:
        status = int(end.code or 0)
    return json.loads(out.getvalue()), status


def test_accepted_verdicts_pass(folder):
    make_claim(slug="count")
    verify("--accept")
    document, status = verify()
    assert (document["changes"], document["counts"]["reproduced"], status) == ([], 1, 0)


def test_a_change_that_nobody_accepted_fails(folder):
    claim = make_claim(slug="count")
    verify("--accept")
    claim.checks = [FORMULA_CHECK | {"expected": 1.0}]
    claim.save()
    document, status = verify()
    assert status == 1
    assert document["changes"] == [{"slug": "count", "before": "reproduced", "after": "refuted"}]


def test_an_unknown_kind_is_named_with_those_there_are(folder):
    with pytest.raises(CommandError, match="there is no slow; allowed: formula, simulation, quick"):
        verify("--rerun", "formula,slow")


def simulated_claim(parameters: float) -> None:
    """A claim on a reference run of the tiny model that says `parameters`."""
    request = run_request(lab_slug="rank-sweep", params=TINY, preset="quick")
    run = make_run(preset="quick", params=request.params, question_key=request.key)
    add_values(run, "trainable_parameters", POINT, parameters)
    MetricValue.objects.create(run=run, name="loss", point=POINT, seed=0, step=0, value=1.0)
    make_claim(slug="simulated", method="simulation", checks=[COUNT_CHECK | {"expected": parameters, "point": POINT}])


def test_a_simulation_made_again_gives_the_same(folder):
    simulated_claim(TINY_PARAMETERS)
    document, _ = verify("--rerun", "simulation", "--accept")
    differing = [d for d in document["differences"] if d["metric"] == "trainable_parameters"]
    assert (differing, document["claims"][0]["verdict"]) == ([], Claim.REPRODUCED)
    [run] = document["runs"]
    assert (run["lab"], run["preset"], run["seconds"] > 0) == ("rank-sweep", "", True)  # of no preset


def test_evidence_that_a_repetition_does_not_give_fails(folder):
    simulated_claim(TINY_PARAMETERS + 1.0)
    document, status = verify("--rerun", "simulation", "--accept")
    assert status == 1
    [differing] = [d for d in document["differences"] if d["metric"] == "trainable_parameters"]
    assert (differing["before"], differing["after"]) == (TINY_PARAMETERS + 1.0, TINY_PARAMETERS)
    assert Run.objects.count() == 1  # nothing is written by a repetition


@pytest.mark.slow
def test_the_shipped_verdicts_are_the_accepted_ones(settings):
    """A change of evidence, formulas or claims that changes a verdict comes with content/verdicts.yaml."""
    content_import(folder=settings.CONTENT_DIR)
    document, _ = verify("--rerun", "formula,simulation")
    assert (document["changes"], document["differences"]) == ([], [])
