"""HTML on its way to Anki and back: mathematics, links, pictures and sound.

Anki typesets `\\(…\\)` and `\\[…\\]`; here the same stands in an element of class `arithmatex` (static/js/math.js).
Fields come from outside and are long: every pattern here runs in linear time.
"""

import html
import re
from dataclasses import dataclass, field

from kb.markup import sanitise

# --- to Anki ----------------------------------------------------------------------------------------------------------

TYPESET = re.compile(r'<(span|div) class="arithmatex">([^<]*)</\1>')
CHIP = re.compile(r'<a class="(chip [^"]*)" href="([^"]*)" title="[^"]*">(.*?)</a>', re.DOTALL)
CLOSING = re.compile(r"<[^<>]*>")
OWN_LINK = re.compile(r'<a (?:class="[^"]*" )?href="[/#?][^"]*"[^>]*>(.*?)</a>', re.DOTALL)
OWN_ADDRESS = re.compile(r'(href|src)="/(?!/)')


def source_of(text: str) -> str:
    """The HTML with its formulas as Anki writes them; `from_anki` gives the same HTML again."""
    return TYPESET.sub(r"\2", text)


def to_anki(text: str, site: str = "") -> str:
    """House HTML as Anki shows it. Links lead to `site`; without one their texts stay.

    A claim's chip becomes its value and the word of its verdict.
    """
    text = CHIP.sub(lambda m: f'<a class="{m[1]}" href="{m[2]}">{CLOSING.sub("", m[3]).strip()}</a>', source_of(text))
    return OWN_ADDRESS.sub(rf'\1="{site}/', text) if site else OWN_LINK.sub(r"\1", text)


# --- from Anki --------------------------------------------------------------------------------------------------------

PICTURE = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
SOURCE = re.compile(r"""\bsrc\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)'|([^\s"'<>]+))""", re.IGNORECASE)
SOUND = re.compile(r"\[sound:([^\[\]<>]*)\]|\[anki:(?:play|tts)[^\[\]]*\]")
KEPT_PICTURE = ("data:image/png;", "data:image/svg+xml;")
EDITOR_MATH = re.compile(r'<anki-mathjax(\s+block="true")?[^<>]*>([^<>]*)</anki-mathjax>')
ARITHMATEX_CLASS = re.compile(r' class="[^"]*\barithmatex\b[^"]*"')
BREAK = re.compile(r"<br ?/?>|</div>|</p>")
DOLLARS = re.compile(r"(\$\$[^$]+\$\$|\$[^$]+\$)")
CODE = re.compile(r"(</?(?:pre|code)\b[^<>]*>)")

# How mathematics begins, and how it then ends.
PAIRS = {r"\(": r"\)", r"\[": r"\]", "[$]": "[/$]", "[$$]": "[/$$]", "[latex]": "[/latex]"}
DELIMITER = re.compile("(" + "|".join(re.escape(d) for pair in PAIRS.items() for d in pair) + ")")
IS_DISPLAYED = {r"\[", "[$$]"}


@dataclass
class Cleaned:
    """Safe HTML, and the names of the files that it showed and that are left out."""

    html: str
    media: list[str] = field(default_factory=list)


def from_anki(text: str) -> Cleaned:
    """An Anki field, or several put together by a template, as house HTML."""
    media: list[str] = []
    text = PICTURE.sub(lambda m: _picture(m[0], media), text)
    text = SOUND.sub(lambda m: _left_out(m[1] or "tts", media), text)
    text = EDITOR_MATH.sub(lambda m: rf"\[{m[2]}\]" if m[1] else rf"\({m[2]}\)", text)
    text = ARITHMATEX_CLASS.sub("", sanitise(text))
    return Cleaned(_outside_code(text).strip(), media)


def _picture(tag: str, media: list[str]) -> str:
    found = SOURCE.search(tag)
    source = next((group for group in found.groups() if group), "") if found else ""
    return tag if source.startswith(KEPT_PICTURE) else _left_out(source, media)


def _left_out(name: str, media: list[str]) -> str:
    name = "data" if name.startswith("data:") else html.unescape(name)[:200]
    media.append(name)
    return f"<em>[{html.escape(name)}]</em>"


def _outside_code(text: str) -> str:
    """Mathematics is typeset everywhere but in code."""
    depth, parts = 0, []
    for index, part in enumerate(CODE.split(text)):
        if index % 2:
            depth = max(0, depth + (-1 if part.startswith("</") else 1))
        parts.append(part if index % 2 or depth else _typeset(part))
    return "".join(parts)


def _typeset(text: str) -> str:
    parts = DELIMITER.split(text)
    last = {part: index for index, part in enumerate(parts) if index % 2}
    done, index = [], 0
    while index < len(parts):
        opening = parts[index]
        if index % 2 and last.get(PAIRS.get(opening, ""), -1) > index:
            end = parts.index(PAIRS[opening], index)
            done.append(_formula(opening, "".join(parts[index + 1 : end])))
            index = end
        else:
            done.append(opening)
        index += 1
    return "".join(done)


def _formula(opening: str, content: str) -> str:
    """The formula without the tags that an editor put into it; `[latex]` may hold text around formulas."""
    source = html.unescape(CLOSING.sub("", BREAK.sub("\n", content))).replace("\xa0", " ").strip()
    if opening == "[latex]" and DOLLARS.search(source):
        parts = DOLLARS.split(source)
        return "".join(_dollars(part) if index % 2 else html.escape(part) for index, part in enumerate(parts))
    return _element(source, is_displayed=opening in IS_DISPLAYED or opening == "[latex]") if source else ""


def _dollars(part: str) -> str:
    return _element(part.strip("$").strip(), is_displayed=part.startswith("$$"))


def _element(formula: str, *, is_displayed: bool) -> str:
    source = html.escape(formula, quote=False)
    if is_displayed:
        return rf'<div class="arithmatex">\[{source}\]</div>'
    return rf'<span class="arithmatex">\({source}\)</span>'
