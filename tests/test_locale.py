"""The Chinese catalogue has every string of the interface, and no other."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.conf import settings
from django.utils import translation
from django.utils.translation.template import templatize

from kb.catalogues import compile_catalogues

ROOT = Path(settings.BASE_DIR)
CATALOGUE = ROOT / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
PACKAGES = ("config", "kb", "labs", "quiz", "worker")

# How many leading string arguments each function has: context, singular, plural.
FUNCTIONS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), ("id",)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), ("id", "plural")),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ("context", "id")),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), ("context", "id", "plural")),
}
# A placeholder, after which the words may change their order but not their names.
PLACEHOLDER = re.compile(r"%\((\w+)\)[sd]")

Key = tuple[str, str, str]  # context, singular, plural


def calls_in(tree: ast.AST) -> Iterator[Key]:
    """The strings of all gettext calls in Python code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            parts = FUNCTIONS[node.func.id]
            if all(isinstance(a, ast.Constant) for a in node.args[: len(parts)]):
                found = dict(zip(parts, (a.value for a in node.args), strict=False))
                yield found.get("context", ""), found["id"], found.get("plural", "")


def calls_in_template(source: str) -> Iterator[Key]:
    """The strings of a template: templatize leaves gettext calls and blanks out the rest."""
    text = templatize(source)
    for match in re.finditer(rf"\b({'|'.join(FUNCTIONS)})\(", text):
        for end in re.finditer(r"\)", text[match.start() :]):
            try:
                tree = ast.parse(text[match.start() : match.start() + end.end()])
            except SyntaxError:
                continue  # a parenthesis inside the string
            yield from calls_in(tree)
            break


def wanted_keys() -> set[Key]:
    keys = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            keys.update(calls_in(ast.parse(path.read_text())))
    for path in (ROOT / "templates").rglob("*.html"):
        keys.update(calls_in_template(path.read_text()))
    return keys


def entries() -> dict[Key, polib.POEntry]:
    return {(e.msgctxt or "", e.msgid, e.msgid_plural or ""): e for e in polib.pofile(str(CATALOGUE)) if not e.obsolete}


def texts_of(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) or [entry.msgstr]


def test_no_string_is_missing() -> None:
    assert sorted(wanted_keys() - entries().keys()) == []


def test_no_entry_is_stale() -> None:
    assert sorted(entries().keys() - wanted_keys()) == []


def test_every_entry_is_translated() -> None:
    assert [e.msgid for e in entries().values() if e.fuzzy or not all(texts_of(e))] == []


def test_placeholders_survive_translation() -> None:
    for (_context, singular, plural), entry in entries().items():
        for text in texts_of(entry):
            assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(plural or singular)), singular


def test_no_latin_punctuation_follows_chinese() -> None:
    wrong = [t for e in entries().values() for t in texts_of(e) if re.search(r"[\u4e00-\u9fff][,;:?!]", t)]
    assert wrong == []


def test_the_extraction_sees_all_kinds_of_strings() -> None:
    source = """{% load i18n %}{% translate "A (b)" %}{% translate "C" context "d" %}
    {% blocktranslate trimmed count n=x %}
      {{ n }} run
    {% plural %}
      {{ n }} runs
    {% endblocktranslate %}{{ x|default:_("E") }}"""
    found = set(calls_in_template(source))
    assert found == {("", "A (b)", ""), ("d", "C", ""), ("", "%(n)s run", "%(n)s runs"), ("", "E", "")}
    code = 'gettext_lazy("A" "b"); ngettext("run", "runs", n); pgettext("c", "d"); gettext(variable)'
    assert set(calls_in(ast.parse(code))) == {("", "Ab", ""), ("", "run", "runs"), ("c", "d", "")}


@pytest.fixture
def locale_folder(tmp_path: Path, settings: object) -> Path:
    folder = tmp_path / "zh_Hans" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "django.po").write_bytes(CATALOGUE.read_bytes())
    settings.LOCALE_PATHS = [tmp_path]
    return folder


def test_it_compiles_what_is_missing_or_older_and_nothing_else(locale_folder: Path) -> None:
    source, target = locale_folder / "django.po", locale_folder / "django.mo"
    assert compile_catalogues() == [target]
    assert compile_catalogues() == []
    os.utime(source, (target.stat().st_mtime + 5,) * 2)
    assert compile_catalogues() == [target]
    compiled = {(e.msgctxt or "", e.msgid): e.msgstr for e in polib.mofile(str(target))}
    assert compiled["", "Topics"] == entries()["", "Topics", ""].msgstr
    assert [p.name for p in sorted(locale_folder.iterdir())] == ["django.mo", "django.po"]


def test_the_interface_speaks_chinese() -> None:
    with translation.override("zh-hans"):
        assert translation.gettext("Answers with receipts") == entries()["", "Answers with receipts", ""].msgstr
