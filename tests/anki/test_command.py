from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from quiz.anki.incoming import read_file

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("name", "more", "count"), [("x.apkg", [], 6), ("x.csv", ["--topic", "lora"], 2)])
def test_it_writes_a_file(bank, tmp_path: Path, name, more, count):
    call_command("export_deck", str(tmp_path / name), *more)
    with (tmp_path / name).open("rb") as file:
        assert read_file(file, name).in_bank == count


def test_the_schedule_of_a_learner(bank, alice, tmp_path: Path):
    call_command("export_deck", str(tmp_path / "x.apkg"), "--user", "alice", "--scheduling", "--language", "zh")
    assert (tmp_path / "x.apkg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x.zip"], "apkg or .csv"),
        (["x.apkg", "--user", "nobody"], "nobody"),
        (["x.apkg", "--scope", "own"], "name a learner"),
        (["x.apkg", "--topic", "nothing"], "nothing"),
        (["x.apkg", "--difficulty", "5", "5"], "No card fits"),
    ],
)
def test_what_it_cannot_do_it_says(bank, tmp_path: Path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match=message):
        call_command("export_deck", *arguments)
    assert list(tmp_path.iterdir()) == []
