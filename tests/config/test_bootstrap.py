"""bootstrap.py says what is missing in one line, repairs what was interrupted, and does nothing the second time."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone in a folder with spaces, with an environment that holds all that the requirements name: nothing."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "bootstrap.py", folder)
    for name in (bootstrap.CONSTRAINTS, *(part[0] for part in bootstrap.BASE + bootstrap.DEV)):
        (folder / name).write_text("# nothing\n")
    return folder


def run(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", str(clone / "bootstrap.py"), *arguments]
    environment = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def stamp(clone: Path) -> dict[str, str]:
    return json.loads((clone / ".venv" / "installed.json").read_text())


@pytest.mark.slow
def test_it_makes_the_environment_once(clone):
    first = run(clone)
    assert first.returncode == 0, first.stderr
    assert "making .venv/" in first.stdout
    assert set(stamp(clone)) == {"requirements.txt", "requirements-models.txt"}
    began = time.monotonic()
    second = run(clone)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert time.monotonic() - began < 1  # 0.05 s on a quiet machine

    (clone / "requirements.txt").write_text("# something else\n")
    assert "installing what the app needs" in run(clone).stdout
    assert "installing what tests and lint need" in run(clone, "--dev").stdout
    assert run(clone, "--dev").stdout == ""

    (clone / "requirements.txt").write_text("no-such-package-of-ours==1\n")
    refused = run(clone)
    assert refused.returncode == 1
    assert refused.stderr.strip().count("\n") == 0
    assert "the first install needs the network" in refused.stderr


@pytest.mark.slow
def test_it_repairs_an_environment_that_was_half_made(clone):
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (clone / ".venv" / "installed.json").write_text("{")
    result = run(clone)
    assert result.returncode == 0, result.stderr
    assert set(stamp(clone)) == {"requirements.txt", "requirements-models.txt"}


def test_it_installs_again_what_was_being_installed(tmp_path):
    for name, files in {"whole-1.dist-info": ["METADATA", "RECORD"], "half-1.dist-info": ["METADATA"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
    (tmp_path / "half").mkdir()
    bootstrap.forget_half_installed(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", "whole-1.dist-info"]


def test_it_names_the_package_that_brings_venv(monkeypatch):
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(bootstrap.BootstrapError, match=rf"apt install python3\.{sys.version_info[1]}-venv$"):
        bootstrap.check_venv_module()


def test_it_says_which_python_it_wants(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda _: None)
    with pytest.raises(bootstrap.BootstrapError, match=r"^Python 3\.11 or newer is needed, this is 3\.8"):
        bootstrap.find_python()


def test_it_finds_a_newer_python_on_the_path(monkeypatch):
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 8, 0))
    monkeypatch.setattr(bootstrap.shutil, "which", lambda name: sys.executable if name == "python3.12" else None)
    assert bootstrap.find_python() == sys.executable


def test_an_old_python_can_read_it():
    tree = ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 6))
    assert not any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree))
