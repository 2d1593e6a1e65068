"""run_lab and record_evidence."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from labs.catalog import all_labs
from labs.records import read_record, verify_digest
from worker.management.commands import record_evidence

ROOT = Path(__file__).resolve().parents[2]
LABS = ", ".join(all_labs())
TINY = '{"model": "tiny", "ranks": [2], "scalings": ["double"], "steps": 2}'


def call(*args, **options) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*args, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def tiny_run() -> subprocess.CompletedProcess:
    """The command itself, from outside, without broker and database."""
    command = [sys.executable, "manage.py", "run_lab", "rank-sweep", "--params", TINY, "--json"]
    environment = os.environ | {
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_it_prints_one_json_document(tiny_run):
    assert tiny_run.returncode == 0, tiny_run.stderr
    document = json.loads(tiny_run.stdout)
    verify_digest(document)
    assert (document["lab"], document["seeds"], document["preset"]) == ("rank-sweep", [0], "")
    assert document["params"]["ranks"] == [2]
    assert document["params"]["alpha"] == 16  # a default, filled in
    values = {(m["name"], m["point"], m["step"]): m for m in document["metrics"]}
    # 2 × the features of the tiny model (see test_experiments).
    parameters = values["trainable_parameters", "rank=2,scaling=double", None]
    assert (parameters["value"], parameters["unit"], parameters["seed"]) == (2048, "parameters", 0)
    assert ("loss", "rank=2,scaling=double", 1) in values


def test_the_document_says_what_the_numbers_depend_on(tiny_run):
    document = json.loads(tiny_run.stdout)
    environment = document["environment"]
    assert set(environment) == {"versions", "hardware", "revision", "model", "data", "threads"}
    assert environment["versions"]["torch"]
    assert environment["hardware"]["logical_cpus"] == os.cpu_count()
    assert len(environment["data"]["facts"]) == len(environment["model"]["sha256"]) == 64
    assert set(document["durations"]) == {"setup", "run", "total"}
    assert str(ROOT) not in tiny_run.stdout


def test_progress_goes_to_standard_error(tiny_run):
    assert "[0/1] seed 0: r = 2, α = 4" in tiny_run.stderr


def test_a_table_for_people(behave):
    behave("finish")
    out, err = call("run_lab", "rank-sweep")
    lines = out.splitlines()
    assert lines[0].split() == ["metric", "point", "mean", "95", "%", "interval", "n", "unit"]
    assert " ".join(lines[1].split()) == "validation_loss rank=1,scaling=constant 1.5 1 nats per answer token"
    assert len(lines) == 2  # no curves
    assert "[1/2] half" in err


def test_the_preset_names_the_run_and_its_command(behave):
    behave("finish")
    out, _ = call("run_lab", "rank-sweep", preset="standard", json=True)
    document = json.loads(out)
    assert document["preset"] == "standard"
    assert document["seeds"] == [0, 1, 2]
    assert document["command"] == "python manage.py run_lab rank-sweep --preset standard"


def test_other_parameters_are_in_the_command(behave):
    behave("finish")
    out, _ = call("run_lab", "rank-sweep", params='{"alpha": 2}', seeds="4,5", json=True)
    document = json.loads(out)
    assert document["preset"] == ""
    assert '"alpha": 2' in document["command"]
    assert document["command"].endswith("--seeds 4,5")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-lab"], f"Unknown lab 'no-such-lab'; allowed: {LABS}"),
        (["rank-sweep", "--params", "{"], "--params is not JSON"),
        (["rank-sweep", "--params", "[1]"], "allowed: a JSON object"),
        (["rank-sweep", "--params", '{"ranks": [0]}'], r"ranks\.0 = 0: .*from 1 to 256"),
        (["rank-sweep", "--params", '{"rang": 1}'], "rang = 1: unknown parameter; allowed: model, ranks"),
        (["rank-sweep", "--params", '{"model": "gpt-9"}'], 'model = "gpt-9": .*allowed: smollm2-135m'),
        (["rank-sweep", "--seeds", "a"], "--seeds 'a': whole numbers"),
        (["rank-sweep", "--seeds", "1,1"], "allowed: 1 to 10 different whole numbers"),
    ],
)
def test_bad_input_names_field_value_and_what_is_allowed(arguments, message):
    with pytest.raises(CommandError, match=message):
        call("run_lab", *arguments)


def test_a_failed_run_prints_no_document(behave):
    behave("diverge")
    out = StringIO()
    with pytest.raises(CommandError, match="Diverged: validation_loss"):
        call_command("run_lab", "rank-sweep", json=True, stdout=out, stderr=StringIO())
    assert out.getvalue() == ""


def test_ctrl_c_stops_the_child_and_exits_130():
    script = (
        "import signal, sys; from worker import supervise;"
        "from django.core.management import execute_from_command_line as run;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"  # a shell's background jobs ignore it
        "supervise.COMMAND = (sys.executable, 'tests/worker/stub_child.py', 'sleep');"
        "run(['manage.py', 'run_lab', 'rank-sweep'])"
    )
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline().startswith("[0/1] ")  # the child is at work
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Cancelled." in err


@pytest.fixture
def evidence(settings, tmp_path, monkeypatch) -> Path:
    settings.BASE_DIR, settings.CONTENT_DIR = tmp_path, tmp_path / "content"
    monkeypatch.setattr(record_evidence, "revision", lambda: {"commit": "a" * 40, "dirty": False})
    return tmp_path / "content" / "evidence"


def test_evidence_is_written_as_a_sealed_record(evidence, behave):
    behave("finish")
    out, err = call("record_evidence", "rank-sweep", preset="quick", json=True)
    path = evidence / "rank-sweep-quick.json"
    assert [path] == list(evidence.iterdir())
    assert path.read_text() == out
    assert read_record(path).preset == "quick"
    assert "Wrote content/evidence/rank-sweep-quick.json" in err


def test_evidence_needs_a_commit(evidence, monkeypatch):
    monkeypatch.setattr(record_evidence, "revision", lambda: {"commit": "a" * 40, "dirty": True})
    with pytest.raises(CommandError, match="commit your changes first"):
        call("record_evidence", "rank-sweep")


def test_a_failed_run_leaves_no_evidence(evidence, behave):
    behave("crash")
    with pytest.raises(CommandError, match="the experiment is broken"):
        call("record_evidence", "rank-sweep")
    assert not evidence.exists()
