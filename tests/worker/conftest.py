"""Jobs and the stub child."""

import os
import sys
from pathlib import Path

import pytest

# Before torch is imported: two test processes on two cores would otherwise wait for each other by spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from worker import supervise
from worker.protocol import Job


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(lab="rank-sweep", params={"model": "tiny"}, seeds=[0], scratch=str(tmp_path), models_dir=str(tmp_path))


@pytest.fixture
def behave(monkeypatch):
    """Make the child a stub with that behaviour (see stub_child.py)."""

    def choose(behaviour: str) -> None:
        stub = str(Path(__file__).with_name("stub_child.py"))
        monkeypatch.setattr(supervise, "COMMAND", (sys.executable, stub, behaviour))

    return choose


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of prepared models, with the real one in it."""
    from django.conf import settings

    from worker.models.store import prepare

    prepare(["smollm2-135m"], settings.MODELS_DIR, [].append)
    return Path(settings.MODELS_DIR)
