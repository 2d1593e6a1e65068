"""What holds for every template: the Content-Security-Policy is kept, everything named exists and is used."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import get_template, render_to_string
from django.utils import translation

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted(path.relative_to(ROOT / "templates").as_posix() for path in (ROOT / "templates").rglob("*.html"))
STYLE_SHEETS = sorted((ROOT / "static" / "css").glob("*.css"))
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))

# Templates that Django itself looks up by name.
BY_DJANGO = {"403.html", "403_csrf.html", "404.html", "500.html", "registration/login.html"}

# What may lead to another host: links that a reader follows, never something that a page loads.
LOADING = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("form", "action")}


class Tags(HTMLParser):
    """Collects what a strict policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.is_script_open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self.is_script_open = tag == "script"
        if tag == "style" or (tag == "script" and "src" not in names):
            self.forbidden.append(f"<{tag}> with inline content")
        for name, value in attrs:
            if name == "style" or name.startswith(("on", "hx-on")) or (value or "").startswith("javascript:"):
                self.forbidden.append(f"{tag} {name}={value}")
            if (tag, name) in LOADING and re.match(r"(https?:)?//", value or ""):
                self.forbidden.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self.is_script_open and data.strip():
            self.forbidden.append("<script> with inline content")


def read(name: str) -> str:
    return (ROOT / "templates" / name).read_text()


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_has_no_inline_style_script_or_handler(name: str) -> None:
    tags = Tags()
    # Tags of the template language may stand inside attributes and would end them.
    tags.feed(re.sub(r"\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}", "", read(name)))
    assert tags.forbidden == []


def test_the_check_sees_what_is_forbidden() -> None:
    tags = Tags()
    tags.feed(
        '<p style="x" onclick="y"><script>z</script><a href="javascript:1"><img src="//host/x"><style>a{}</style>'
    )
    assert len(tags.forbidden) == 7


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_compiles(name: str) -> None:
    get_template(name)


def test_every_template_is_used() -> None:
    python = [p.read_text() for app in ("config", "kb", "labs", "quiz") for p in (ROOT / app).rglob("*.py")]
    sources = "\n".join([*python, *(read(name) for name in TEMPLATES)])
    assert [name for name in TEMPLATES if f'"{name}"' not in sources and name not in BY_DJANGO] == []


def test_every_static_file_exists() -> None:
    named = {path for name in TEMPLATES for path in re.findall(r'\{% static "([^"]+)" %\}', read(name))}
    assert [path for path in sorted(named) if not finders.find(path)] == []


@pytest.mark.parametrize("sheet", [*STYLE_SHEETS, *(ROOT / "static" / "vendor").rglob("*.css")], ids=lambda p: p.name)
def test_every_file_that_a_style_sheet_names_exists(sheet: Path) -> None:
    names = re.findall(r"url\(\"?([^)\"]+)\"?\)", sheet.read_text())
    assert [name for name in names if not (sheet.parent / name).exists()] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_every_script_is_loaded_and_evaluates_nothing(script: Path) -> None:
    assert any(f'"js/{script.name}"' in read(name) for name in TEMPLATES)
    assert not re.search(r"\beval\(|new Function|innerHTML", script.read_text())


def test_every_vendored_package_has_its_licence_and_version() -> None:
    versions = (ROOT / "static" / "vendor" / "VERSIONS.md").read_text()
    for folder in (path for path in (ROOT / "static" / "vendor").iterdir() if path.is_dir()):
        assert (folder / "LICENSE").exists(), folder.name
        assert f"`{folder.name}/`" in versions


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert '"integrity"' in lock


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_the_error_page_needs_no_database_and_no_request(language: str) -> None:
    with translation.override(language):
        html = render_to_string("500.html")
    assert f'<html lang="{language}">' in html
    assert "css/base.css" in html


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * d for d in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


TONES = ("green", "red", "amber", "blue", "grey")
READ = [(text, ground) for text in ("text", "muted", "accent", *TONES) for ground in ("bg", "surface", "sunken")]
READ += [(text, f"{tone}-soft") for tone in TONES for text in ("text", tone)] + [("on-accent", "accent")]
SEEN = [("control", "bg"), ("control", "surface")]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(READ, 4.5), (SEEN, 3.0)], ids=["text", "controls"])
def test_colours_meet_wcag_aa(theme: int, pairs: list[tuple[str, str]], least: float) -> None:
    sheet = (ROOT / "static" / "css" / "tokens.css").read_text()
    tokens = {name: both for name, *both in re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", sheet)}
    assert [p for p in pairs if contrast(tokens[p[0]][theme], tokens[p[1]][theme]) < least] == []


def test_a_missing_page_says_so_in_the_site_layout(client: object, db: None) -> None:
    response = client.get("/no/such/page/")
    assert response.status_code == 404
    assert "404.html" in [t.name for t in response.templates]
