"""A backup holds everything that is not in the clone, and nothing that is not whole is restored."""

import io
import json
import stat

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from config.backup import BackupError, backup, restore
from config.supervisor.lock import lock_data_folder
from labs.models import Run
from tests.builders import make_run

pytestmark = pytest.mark.django_db(transaction=True)  # a copy sees what is committed


@pytest.fixture
def data_dir(settings, tmp_path):
    settings.DATA_DIR, settings.RUNS_DIR = tmp_path / "data", tmp_path / "data" / "runs"
    settings.RUNS_DIR.mkdir(parents=True)
    (settings.DATA_DIR / "secret_key").write_text("a kept key")
    return settings.DATA_DIR


@pytest.fixture
def run(data_dir) -> Run:
    """A run with a finished file and one that it was writing."""
    made = make_run(origin=Run.SITE)
    folder = data_dir / "runs" / str(made.pk)
    for name in ("artifacts/curve.csv", "scratch/half.csv"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("step,loss\n")
    return made


@pytest.fixture
def saved(run, tmp_path):
    return backup(tmp_path / "backups")


def test_it_holds_database_artifacts_and_secrets_for_the_owner_alone(saved, run, tmp_path):
    files = set(json.loads((saved / "manifest.json").read_text())["files"])
    assert files - {"database.sqlite3", "database.dump"} == {f"runs/{run.pk}/artifacts/curve.csv", "secret_key"}
    assert len(files) == 3
    assert stat.S_IMODE(saved.stat().st_mode) == 0o700
    assert list((tmp_path / "backups").iterdir()) == [saved]


def test_a_restore_brings_back_what_was_there_and_nothing_else(saved, run, data_dir):
    User.objects.create_user("afterwards")
    Run.objects.all().delete()
    later = data_dir / "runs" / "99" / "artifacts"
    later.mkdir(parents=True)
    (data_dir / "secret_key").write_text("another key")
    restore(saved)
    assert list(Run.objects.values_list("pk", "lab_slug")) == [(run.pk, "rank-sweep")]
    assert not User.objects.filter(username="afterwards").exists()
    assert (data_dir / "runs" / str(run.pk) / "artifacts" / "curve.csv").read_text() == "step,loss\n"
    assert not later.exists()
    assert (data_dir / "secret_key").read_text() == "a kept key"


def test_a_damaged_backup_changes_nothing(saved, run):
    next(saved.glob("runs/*/artifacts/curve.csv")).write_text("changed")
    with pytest.raises(BackupError, match=r"damaged or missing in the backup: runs/\d+/artifacts/curve.csv"):
        restore(saved)
    assert Run.objects.filter(pk=run.pk).exists()


def change_manifest(saved, **changes) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps(manifest | changes))


def test_a_backup_of_a_newer_version_is_refused(saved):
    change_manifest(saved, version="9.9", migrations=["labs.9999_future"])
    with pytest.raises(BackupError, match=r"newer version \(9.9\): labs.9999_future"):
        restore(saved)


def test_a_backup_of_another_kind_of_database_is_refused(saved):
    change_manifest(saved, database="oracle")
    with pytest.raises(BackupError, match="the backup is of oracle"):
        restore(saved)


def test_an_unfinished_backup_is_refused_and_not_left_behind(run, tmp_path, monkeypatch):
    def fail(target):
        raise OSError("no space left")

    monkeypatch.setattr("config.backup._dump_database", fail)
    with pytest.raises(CommandError, match="no space left"):
        call_command("backup", str(tmp_path / "backups"))
    assert list((tmp_path / "backups").iterdir()) == []
    with pytest.raises(CommandError, match="is not a complete backup"):
        call_command("restore", str(tmp_path / "backups"), "--replace")


def test_the_command_says_where_the_backup_is(run, tmp_path):
    output = io.StringIO()
    call_command("backup", str(tmp_path), stdout=output)
    assert (tmp_path / output.getvalue().strip() / "manifest.json").exists()


def test_a_restore_has_to_be_meant(saved):
    with pytest.raises(CommandError, match="say --replace"):
        call_command("restore", str(saved))


def test_a_restore_refuses_while_the_site_runs(saved, data_dir):
    with lock_data_folder(data_dir), pytest.raises(CommandError, match="is in use by process"):
        call_command("restore", str(saved), "--replace")
