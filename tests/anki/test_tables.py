"""Tables in, tables out."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiz.anki import table
from quiz.anki.csv_file import csv_bytes, safe_cell
from quiz.anki.exports import Deck
from quiz.anki.incoming import read_file
from quiz.anki.limits import MAX_TABLE, Refused
from quiz.anki.selection import Selection
from quiz.anki.table import GUARDED, BadRow, read_table
from quiz.models import OwnCard


def rows(text: str | bytes, **values) -> list[tuple]:
    raw = text.encode() if isinstance(text, str) else text
    return [(row.front, row.back, row.deck, row.tags) for row in read_table(raw, **values)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n", ("a", "b", "", [])),
        ("a;b\n", ("a", "b", "", [])),
        ("a\tb\n", ("a", "b", "", [])),
        ("\ufeffa,b\r\n", ("a", "b", "", [])),
        ("Front,Back\na,b\n", ("a", "b", "", [])),
        ("tags,back,deck,front\nx y,b,D::E,a\n", ("a", "b", "D::E", ["x", "y"])),
        ("问题,答案\na,b\n", ("a", "b", "", [])),
        ('a,"b\nc <i>"\n', ("a", "b<br>c &lt;i&gt;", "", [])),
        ("front_html,back_html\n<b>a</b>,<i>b</i>\n", ("<b>a</b>", "<i>b</i>", "", [])),
        ("#separator:tab\n#html:true\n<b>a</b>\tb\n", ("<b>a</b>", "b", "", [])),
        ("#separator:Semicolon\n#deck:D\n#tags:t u\na;b\n", ("a", "b", "D", ["t", "u"])),
        ("#html:true\n#guid column:1\n#deck column:2\n#tags column:5\nG\tD\ta\tb\tt\n", ("a", "b", "D", ["t"])),
        ("#notetype column:1\nBasic,a,b,c\n", ("a", "b<br>c", "", [])),
        ("\n\na,b\n\n", ("a", "b", "", [])),
        ("'=1+1,b\n", ("=1+1", "b", "", [])),
    ],
)
def test_tables_are_understood(text, expected):
    assert rows(text) == [expected]


def test_utf_16_with_its_mark_is_understood():
    assert rows("正\t反\n".encode("utf-16")) == [("正", "反", "", [])]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"only one column\n", "Line 1 has 1 columns"),
        (b"name,age\n\xff\xfe,1\n", "Line 2 is not UTF-8"),
        (b"front,tags\na,b\n", "Line 1 names the columns front, tags"),
        (b"a\0,b\n", "binary"),
        (b"x" * (MAX_TABLE + 1), str(MAX_TABLE)),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(raw, message):
    with pytest.raises(Refused, match=message):
        list(read_table(raw))


def test_what_the_reader_refuses_is_named_with_its_line():
    before = csv.field_size_limit(1000)
    try:
        with pytest.raises(Refused, match="Line 2 cannot be read"):
            list(read_table(b"a,b\nc," + b"x" * 2000 + b"\n"))
    finally:
        csv.field_size_limit(before)


def test_a_row_of_another_width_is_left_out_with_its_line():
    found = list(read_table(b"front,back\na,b\na,b,c\n\nd,e\n"))
    assert [row.line for row in found] == [2, 3, 5]
    assert found[1] == BadRow(3, "3 columns; the first line has 2")


def test_too_many_lines_are_refused(monkeypatch):
    monkeypatch.setattr(table, "MAX_NOTES", 2)
    with pytest.raises(Refused, match="2"):
        list(read_table(b"a,b\nc,d\ne,f\n"))


def test_a_changed_back_is_the_same_card():
    (one,), (other,), (new,) = (list(read_table(raw)) for raw in (b"a,b\n", b"a,c\n", b"x,b\n"))
    assert one.guid == other.guid != new.guid


@pytest.mark.django_db
def test_a_long_cell_is_left_out_with_its_line():
    reading = read_file(io.BytesIO(b"front,back\nok,b\n" + b"x" * 100_000 + b",b\n"), "x.csv")
    assert [card.front for card in reading.cards] == ["ok"]
    assert reading.left_out == [{"place": "line 3", "reason": "front of 100000 characters; allowed: 64000"}]


@pytest.mark.django_db
def test_the_same_front_twice_is_kept_once():
    reading = read_file(io.BytesIO(b"a,b\na,c\n"), "x.csv")
    assert [card.back for card in reading.cards] == ["b"]
    assert reading.left_out[0]["place"] == "line 2"


# --- export -----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_no_cell_is_a_formula_and_none_is_changed_for_good(text):
    cell = safe_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    if cell != text:
        assert GUARDED.sub("", cell) == text


@pytest.mark.django_db
def test_the_exported_bank_is_recognised(bank):
    raw = csv_bytes(Deck(Selection(), None, "en").notes())
    assert raw.startswith(b"\xef\xbb\xbfguid,deck,tags,Slug,")
    reading = read_file(io.BytesIO(raw), "bank.csv")
    assert (reading.in_bank, reading.cards, reading.left_out_count) == (len(bank), [], 0)


@pytest.mark.django_db
def test_the_mark_can_be_left_out(bank):
    assert csv_bytes(Deck(Selection(), None, "en").notes(), with_bom=False).startswith(b"guid")


@pytest.mark.django_db
def test_own_cards_come_back_as_they_were(alice):
    values = {"deck": "=D", "front": r'<span class="arithmatex">\(x\)</span>, "y"', "back": "@z", "tags": ["-t", "u"]}
    OwnCard.objects.create(owner=alice, guid="+g", **values)
    raw = csv_bytes(Deck(Selection(scope="own"), alice, "en").notes())
    (cells,) = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))
    assert (cells["deck"], cells["guid"]) == ("'=D", "'+g")
    (card,) = read_file(io.BytesIO(raw), "own.csv").cards
    assert card.guid == "+g"
    assert {name: getattr(card, name) for name in values} == values
