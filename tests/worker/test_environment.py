"""What a record says about where its numbers come from."""

import subprocess

import pytest

from worker import environment


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit."""
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / "lab.py").write_text("x = 1\n")
    (tmp_path / "content" / "evidence").mkdir(parents=True)
    (tmp_path / "content" / "evidence" / "old.json").write_text("{}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-qm", "Start")
    return tmp_path


def git(folder, *arguments) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_a_clean_checkout(checkout):
    assert environment.revision() == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}


def test_changed_code_is_dirty(checkout):
    (checkout / "lab.py").write_text("x = 2\n")
    assert environment.revision()["dirty"] is True


def test_new_files_and_recorded_evidence_do_not_count(checkout):
    (checkout / "notes.txt").write_text("untracked\n")
    (checkout / "content" / "evidence" / "old.json").write_text('{"new": 1}\n')
    assert environment.revision()["dirty"] is False


def test_outside_a_checkout_there_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.revision() == {"commit": "", "dirty": None}


def test_threads_can_be_limited(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environment.thread_count() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert environment.thread_count() >= 1
