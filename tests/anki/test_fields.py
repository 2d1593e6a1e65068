"""HTML to Anki and back, and Anki's templates."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.anki.collection import Note, NoteType, Template
from quiz.anki.fields import from_anki, source_of, to_anki
from quiz.anki.limits import MAX_FIELD
from quiz.anki.templates import cloze, sides

INLINE = r'<span class="arithmatex">\({}\)</span>'
DISPLAY = r'<div class="arithmatex">\[{}\]</div>'


@pytest.mark.parametrize(
    ("field", "html"),
    [
        (r"a \(x\) b", f"a {INLINE.format('x')} b"),
        (r"\[x<br>y\]", DISPLAY.format("x\ny")),
        (r"\(a &lt; b&nbsp;&amp; c\)", INLINE.format("a &lt; b &amp; c")),
        ("[$]x[/$][$$]y[/$$]", INLINE.format("x") + DISPLAY.format("y")),
        ("[latex]x^2[/latex]", DISPLAY.format("x^2")),
        ("[latex]Let $x$ be &lt; $$y$$[/latex]", f"Let {INLINE.format('x')} be &lt; {DISPLAY.format('y')}"),
        ("<anki-mathjax>x</anki-mathjax>", INLINE.format("x")),
        ('<anki-mathjax block="true">x</anki-mathjax>', DISPLAY.format("x")),
        (r"\(<b>x</b>\)", INLINE.format("x")),
        (r"\(x", r"\(x"),
        (r"x\) \(y\)", rf"x\) {INLINE.format('y')}"),
        (r"<code>\(x\)</code>", r"<code>\(x\)</code>"),
        (r"<pre>\(x</pre>\(y\)", rf"<pre>\(x</pre>{INLINE.format('y')}"),
        (r'<span class="arithmatex">\(x\)</span>', f"<span>{INLINE.format('x')}</span>"),
        ("costs $5 and $6", "costs $5 and $6"),
        (r"\(\)", ""),
        ("<b>b</b><i>i</i><u>u</u>", "<b>b</b><i>i</i><u>u</u>"),
        ('<div style="color:red" class="x evil-class">y</div>', '<div class="x">y</div>'),
    ],
)
def test_anki_fields_become_house_html(field, html):
    assert from_anki(field).html == html


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ('<img src="a b.jpg">', ["a b.jpg"]),
        ("<img src=x.png>[sound:y.mp3]", ["x.png", "y.mp3"]),
        ('<img src="https://host/x.png">', ["https://host/x.png"]),
        ('<img src="data:image/jpeg;base64,AA">', ["data"]),
        ('<img src="data:image/png;base64,AA">', []),
        ("[anki:tts lang=en]x[/anki:tts]", ["tts"]),
        ("<img>", [""]),
    ],
)
def test_media_are_left_out_and_named(field, names):
    cleaned = from_anki(field)
    assert cleaned.media == names
    assert all(f"[{name}]" in cleaned.html for name in names)


def test_chips_become_value_and_verdict():
    chip = (
        '<a class="chip chip-refuted" href="/claims/x/" title="S"><span class="chip-value">1</span>'
        '<span class="visually-hidden"> (refuted)</span></a>'
    )
    assert to_anki(chip, "https://host") == '<a class="chip chip-refuted" href="https://host/claims/x/">1 (refuted)</a>'
    assert to_anki(chip) == "1 (refuted)"


def test_links_of_the_site_lead_there_and_others_stay():
    text = '<a href="/points/x/">x</a> <a href="https://other/">y</a> <img src="/static/z.svg">'
    assert to_anki(text, "https://host").count("https://host/") == 2
    assert to_anki(text).startswith('x <a href="https://other/">y</a>')


def test_editing_keeps_links_within_the_site():
    once = from_anki(r'<a href="/points/x/">\(x\)</a>').html
    assert from_anki(source_of(once)).html == once
    assert 'href="/points/x/"' in once


@given(st.text(alphabet=r"ab<>&\()[]$/ {}latexdiv=\"'", max_size=200))
def test_what_came_in_comes_in_again_unchanged(text):
    once = from_anki(text).html
    assert from_anki(source_of(once)).html == once


@pytest.mark.parametrize(
    "part", [r"\(", r"\[", "[latex]", "<img ", "[sound:", "<anki-mathjax>", "<code>", "$", "<", "[$]"]
)
def test_cleaning_takes_linear_time(part):
    start = time.process_time()
    from_anki((part * MAX_FIELD)[:MAX_FIELD])
    assert time.process_time() - start < 2


# --- templates --------------------------------------------------------------------------------------------------------


def note(front: str, back: str, *, is_cloze: bool = False, **fields: str) -> Note:
    kind = NoteType("x", list(fields), [Template(front, back)], is_cloze)
    return Note("g", kind, fields, [], [(0, "")])


@pytest.mark.parametrize(
    ("front", "back", "expected"),
    [
        ("{{A}}", "{{FrontSide}}<hr id=answer>{{B}}", ("a", "b")),
        ("{{A}}", '{{FrontSide}}\n<hr class=x id="answer" />{{B}}', ("a", "\nb")),
        ("{{#B}}x{{/B}}{{^B}}y{{/B}}", "{{#E}}x{{/E}}{{^E}}y{{/E}}", ("x", "y")),
        ("{{#B}}{{#E}}x{{/E}}z{{/B}}", "{{ B }}", ("z", "b")),
        ("{{A}} {{type:B}}", "{{type:B}}", ("a ", "b")),
        ("{{A}}{{hint:B}}", "{{hint:B}}", ("a", "b")),
        ("{{Tags}}{{Deck}}{{unknown}}{{A}}", "{{text:H}}", ("a", "h")),
        ("{{furigana:A}}", "{{B}}", ("a", "b")),
    ],
)
def test_templates(front, back, expected):
    assert sides(note(front, back, A="a", B="b", E=" <br>", H="<i>h</i>"), 0) == expected


def test_a_card_without_a_template_is_an_error():
    with pytest.raises(IndexError):
        sides(note("{{A}}", "{{A}}", A="a"), 1)


@pytest.mark.parametrize(
    ("text", "number", "front", "back"),
    [
        ("{{c1::a}} {{c2::b}}", 1, "<strong>[…]</strong> b", "<strong>a</strong> b"),
        ("{{c1::a::hint}}", 1, "<strong>[hint]</strong>", "<strong>a</strong>"),
        ("{{c1::a {{c2::b}} c}}", 2, "a <strong>[…]</strong> c", "a <strong>b</strong> c"),
        ("{{c1::a {{c2::b}} c}}", 1, "<strong>[…]</strong>", "<strong>a b c</strong>"),
        ("{{c1::open", 1, "{{c1::open", "{{c1::open"),
        ("}} x", 1, "}} x", "}} x"),
    ],
)
def test_clozes(text, number, front, back):
    assert cloze(text, number, is_front=True) == front
    assert cloze(text, number, is_front=False) == back
