"""What of a run can be taken away: record, numbers, script."""

import csv
import io
import json
import subprocess

import pytest

from labs.exports import csv_of, record_of, script_of
from labs.models import Artifact, MetricValue, Run
from labs.records import verify_digest
from tests.builders import add_values, make_run

pytestmark = pytest.mark.django_db
POINT = "rank=64,scaling=double"
COMMIT = {"revision": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False}}


@pytest.fixture
def run(alice) -> Run:
    run = add_values(make_run(alice, environment=COMMIT), "validation_loss", POINT, 0.5, 0.7)
    MetricValue.objects.create(run=run, name="loss", point=POINT, seed=0, step=3, value=1.25)
    Artifact.objects.create(run=run, name="adapter.zip", size=12, sha256="0" * 64)
    return run


def test_the_record_is_complete_and_sealed(as_alice, run):
    response = as_alice.get(f"/runs/{run.pk}/export.json")
    assert response["Content-Disposition"] == f'attachment; filename="rank-sweep-{run.pk}.json"'
    document = json.loads(response.content)
    verify_digest(document)
    assert (document["lab"], document["preset"], document["environment"]) == ("rank-sweep", "quick", COMMIT)
    assert [m["value"] for m in document["metrics"]] == [0.5, 0.7, 1.25]
    assert [(s["mean"], s["n"]) for s in document["summary"]] == [(0.6, 2)]
    assert [a["name"] for a in document["artifacts"]] == ["adapter.zip"]


def test_the_numbers_are_a_table(run):
    rows = list(csv.DictReader(io.StringIO(csv_of(run))))
    assert [(r["metric"], r["seed"], r["step"], float(r["value"])) for r in rows] == [
        ("validation_loss", "0", "", 0.5),
        ("validation_loss", "1", "", 0.7),
        ("loss", "0", "3", 1.25),
    ]
    assert rows[0]["unit"] == "nats per answer token"


def test_the_script_repeats_the_run_with_the_code_that_ran(run):
    script = script_of(run)
    assert 'git worktree add --detach "proofdeck-01234567" 0123456789abcdef0123456789abcdef01234567' in script
    assert ".venv/bin/python manage.py run_lab rank-sweep --preset quick --json > result.json" in script
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_script_compares(run, tmp_path):
    """The end of the script, on a result that somebody's repetition gave."""
    python = script_of(run).split("<<'PYTHON'\n")[1].split("PYTHON\n")[0]
    summary = [{"name": "validation_loss", "point": POINT, "mean": 0.625}]
    (tmp_path / "result.json").write_text(json.dumps({"summary": summary}))
    done = subprocess.run(["python3", "-"], input=python, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"validation_loss, {POINT}: 0.6, 0.625" in done.stdout


def test_the_script_stops_where_the_commit_is_not_to_be_had(run, tmp_path):
    """Else it would install and run in the folder it was started in."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = subprocess.run(["sh"], input=script_of(run), text=True, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0
    assert "make" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".git"]


def test_a_run_without_a_commit_is_repeated_with_the_code_that_is_there(alice):
    script = script_of(make_run(alice, params={"note": "it's $HOME"}, preset="", environment={}))
    assert "git worktree" not in script
    assert """'{"note": "it'"'"'s $HOME"}'""" in script


@pytest.mark.parametrize("form", ["json", "csv", "sh"])
def test_others_get_nothing(as_bob, as_charlie, run, form):
    for client in (as_bob, as_charlie):
        assert client.get(f"/runs/{run.pk}/export.{form}").status_code == 404


def test_an_unknown_form_and_an_unfinished_run_are_not_found(as_alice, alice, run):
    assert as_alice.get(f"/runs/{run.pk}/export.exe").status_code == 404
    waiting = make_run(alice, status=Run.QUEUED)
    assert as_alice.get(f"/runs/{waiting.pk}/export.json").status_code == 404


def test_the_same_run_gives_the_same_record(run):
    assert record_of(run).digest == record_of(run).digest
