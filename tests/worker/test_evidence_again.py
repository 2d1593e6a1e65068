"""Evidence that is lost is made again: the labs' commands bring back the verdicts that were accepted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labs import ledger

LABS = ("nf4-codebook", "memory-ladder", "memory-simulator")  # a measurement and two simulations, each within seconds


@pytest.fixture
def clone(settings, tmp_path) -> Path:
    """A clone of the project without any reference evidence."""
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", settings.BASE_DIR, folder], check=True)
    for record in (folder / "content" / "evidence").glob("*.json"):
        record.unlink()
    commit(folder)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models").symlink_to((settings.DATA_DIR / "models").resolve())
    return folder


def commit(clone: Path) -> None:
    """Evidence names the commit that made it, so that nothing may lie about uncommitted."""
    subprocess.run(["git", "add", "--all"], cwd=clone, check=True)
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, "commit", "-q", "-m", "Evidence"], cwd=clone, check=True)


def manage(clone: Path, *words: str) -> str:
    """What a management command of the clone prints, with a database of its own."""
    env = os.environ | {"DATA_DIR": str(clone.parent / "data"), "DATABASE_URL": "", "REDIS_URL": ""}
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(command, cwd=clone, env=env, text=True, stdout=subprocess.PIPE, check=False).stdout


def verdicts(clone: Path) -> dict[str, str]:
    """Of the claims that rest on the three labs alone."""
    manage(clone, "import_content")
    claims = json.loads(manage(clone, "verify_claims", "--json"))["claims"]
    places = {claim["slug"]: {check.get("lab") for check in claim["checks"]} for claim in claims}
    return {claim["slug"]: claim["verdict"] for claim in claims if set() < places[claim["slug"]] <= set(LABS)}


@pytest.mark.slow
def test_evidence_made_again_brings_back_the_verdicts(clone, settings):
    manage(clone, "migrate")
    lost = verdicts(clone)
    for lab in LABS:
        manage(clone, "record_evidence", lab)
        commit(clone)
    found = verdicts(clone)
    accepted = ledger.accepted_verdicts(settings.CONTENT_DIR)
    assert len(lost) >= 6
    assert set(lost.values()) == {"awaiting"}
    assert found == {slug: accepted[slug] for slug in lost}
