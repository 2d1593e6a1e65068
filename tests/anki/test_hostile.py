"""Files that mean harm, and files that are only broken: refused with a clear word, nothing written elsewhere."""

import io
import json
import stat
import struct
import zipfile
from pathlib import Path

import pytest
import zstandard

from quiz.anki import incoming, limits
from quiz.anki import package as package_module
from quiz.anki.collection import read_notes
from quiz.anki.incoming import Reading, read_file
from quiz.anki.limits import MAX_FIELD, Refused
from quiz.anki.protobuf import number_at, text_at
from tests.anki.packages import MODEL, SCHEMA, collection, package

pytestmark = pytest.mark.django_db

GOOD = ("g", "front|back")


def refusal(file: io.BytesIO, name: str = "deck.apkg") -> str:
    with pytest.raises(Refused) as error:
        read_file(file, name)
    return str(error.value)


def read(*notes: tuple[str, str], **values: str) -> Reading:
    return read_file(package(collection(*notes, **values)), "deck.apkg")


def test_the_package_by_hand_is_a_good_one():
    (card,) = read(GOOD).cards
    assert (card.guid, card.deck, card.front, card.back, card.tags) == ("g", "Mine", "front", "back", ["a"])


# --- the zip ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["collection.anki2", "collection.anki21b"])
def test_a_zip_bomb_is_noticed_while_it_is_read(monkeypatch, tmp_path, name):
    monkeypatch.setattr(package_module, "MAX_UNPACKED", 2**20)
    content = bytes(50 * 2**20)
    bomb = package(zstandard.compress(content) if name.endswith("b") else content, name)
    assert len(bomb.getvalue()) < 100_000
    monkeypatch.setattr(incoming.tempfile, "tempdir", str(tmp_path))
    assert "collection.anki2" in refusal(bomb)
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_lies_about_the_size_changes_nothing(monkeypatch):
    monkeypatch.setattr(package_module, "MAX_UNPACKED", 2**20)
    raw = bytearray(package(bytes(5 * 2**20)).getvalue())
    at = raw.rindex(b"PK\x01\x02")
    struct.pack_into("<L", raw, at + 24, 10)  # the uncompressed size in the directory
    assert refusal(io.BytesIO(bytes(raw)))


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_names_that_lead_out_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "evil" in refusal(package(collection(GOOD), more={name: b"x"}))
    assert list(tmp_path.rglob("*evil*")) == list(tmp_path.parent.glob("evil")) == []


def test_a_symbolic_link_is_refused():
    target = package(collection(GOOD))
    link = zipfile.ZipInfo("media")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "symbolic link" in refusal(target)


@pytest.mark.parametrize("told", [0xFFFF, 1])
def test_a_million_entries_are_refused_before_they_are_read(monkeypatch, told):
    """47 MB of directory, whatever the end of it says of its length."""
    raw = package(collection(GOOD), name="c").getvalue()
    start = raw.rindex(b"PK\x01\x02")
    directory = raw[start:-22] * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, told, told, len(directory), start, 0)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert str(limits.MAX_ENTRIES) in refusal(io.BytesIO(raw[:start] + directory + end))


def test_a_directory_in_zip64_is_refused_before_it_is_read(monkeypatch):
    raw = package(collection(GOOD)).getvalue()
    locator = b"PK\x06\x07" + bytes(16)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert str(limits.MAX_ENTRIES) in refusal(io.BytesIO(raw[:-22] + locator + raw[-22:]))


def test_entries_are_counted_when_the_header_hides_them(monkeypatch):
    monkeypatch.setattr(package_module, "MAX_ENTRIES", 3)
    raw = bytearray(package(collection(GOOD), more={f"{n}": b"" for n in range(5)}).getvalue())
    struct.pack_into("<HH", raw, len(raw) - 14, 1, 1)
    assert "3" in refusal(io.BytesIO(bytes(raw)))


@pytest.mark.parametrize("raw", [b"", b"x", b"PK\x03\x04", bytes(1000), package(collection(GOOD)).getvalue()[:-30]])
def test_what_is_no_whole_zip_is_refused(raw):
    assert ".apkg" in refusal(io.BytesIO(raw))


def test_a_damaged_entry_is_refused():
    raw = bytearray(package(collection(GOOD)).getvalue())
    raw[200:240] = bytes(40)
    assert "damaged" in refusal(io.BytesIO(bytes(raw)))


def test_bad_zstd_is_refused():
    assert "damaged" in refusal(package(b"no zstd", "collection.anki21b"))


def test_a_package_without_a_collection_is_refused():
    assert "collection.anki21b" in refusal(package(name="", more={"media": b"{}"}))


def test_the_newest_collection_is_read():
    """Anki adds an old one that only says to update."""
    new = package(collection(("old", "please update|x")), more={"collection.anki21": collection(GOOD)})
    assert [card.guid for card in read_file(new, "deck.apkg").cards] == ["g"]


def test_other_files_are_refused():
    assert ".apkg, .colpkg, .csv" in refusal(io.BytesIO(b"x"), "photo.png")


# --- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(4000), collection(GOOD)[:5000]])
def test_a_corrupt_database_is_refused(content):
    assert "damaged" in refusal(package(content)) or "no table" in refusal(package(content))


NO_NOTES = SCHEMA.replace("CREATE TABLE notes (id, guid, mid, tags, flds);", "")


def test_a_view_named_notes_is_not_read():
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, 1, '', 'x' FROM n"
    view = f"CREATE VIEW notes (id, guid, mid, tags, flds) AS {forever};"
    assert "no table notes" in refusal(package(collection(schema=NO_NOTES, more=view)))


def test_a_virtual_table_named_notes_is_not_read():
    table = "CREATE VIRTUAL TABLE notes USING fts5(id, guid, mid, tags, flds);"
    assert "no table notes" in refusal(package(collection(schema=NO_NOTES, more=table)))


def test_a_trigger_never_runs(tmp_path):
    trigger = "CREATE TRIGGER notes AFTER INSERT ON cards BEGIN DELETE FROM notes; END;"
    before = collection(GOOD, more=trigger)
    path = tmp_path / "c"
    path.write_bytes(before)
    assert [note.guid for note in read_notes(path)] == ["g"]
    assert path.read_bytes() == before


def test_a_query_without_end_is_stopped(monkeypatch):
    monkeypatch.setattr("quiz.anki.collection.MAX_SECONDS", 0)
    monkeypatch.setattr("quiz.anki.collection.STEPS", 10)
    assert "damaged" in refusal(package(collection(*[(f"g{n}", "a|b") for n in range(100)])))


def test_reading_that_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(incoming, "MAX_SECONDS", -1)
    assert "seconds" in refusal(package(collection(GOOD)))


@pytest.mark.parametrize("models", ["", "[", "[1]", '{"1": 5}', '{"1": {"name": "x"}}', "[" * 100_000])
def test_note_types_that_cannot_be_read_are_refused(models):
    assert "note types" in refusal(package(collection(GOOD, models=models or "null")))


def test_a_value_that_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr("quiz.anki.collection.MAX_VALUE", 10_000)
    assert "damaged" in refusal(package(collection(("g", "x" * 20_000))))


def test_too_many_notes_are_refused(monkeypatch):
    monkeypatch.setattr("quiz.anki.collection.MAX_NOTES", 2)
    assert "2" in refusal(package(collection(*[(f"g{n}", "a|b") for n in range(3)])))


def test_numbers_and_blobs_where_texts_belong_do_no_harm():
    more = "INSERT INTO notes VALUES (50, 1, 'x', NULL, 5); INSERT INTO notes VALUES ('a', x'ff', 1, 2, x'ff1fff');"
    reading = read(GOOD, more=more)
    assert [card.guid for card in reading.cards] == ["g"]
    assert reading.left_out_count == 2


# --- what is in the notes ---------------------------------------------------------------------------------------------


def test_a_long_field_is_left_out_with_its_place():
    reading = read(GOOD, ("long", "x" * 100_000 + "|back"))
    assert len(reading.cards) == 1
    assert reading.left_out == [
        {"place": "note long", "reason": "a card of more than 64000 characters, which is what is allowed"}
    ]


def test_a_template_that_multiplies_a_field_is_left_out():
    model = json.loads(json.dumps(MODEL))
    model["1"]["tmpls"][0]["qfmt"] = "{{Front}}" * 2000
    reading = read(("g", f"{'x' * 60_000}|back"), models=json.dumps(model))
    assert (reading.cards, reading.left_out_count) == ([], 1)


@pytest.mark.parametrize("template", ["{{#Front}}" * 1900, "{{/Front}}" * 1900, "{{" * 9000, "{{#}}{{^}}{{}}{{::}}"])
def test_odd_templates_do_no_harm(template):
    model = json.loads(json.dumps(MODEL))
    model["1"]["tmpls"][0]["qfmt"] = template + "{{Front}}"
    assert read(GOOD, models=json.dumps(model)).left_out_count <= 1


SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
LINK = '<a href="javascript:alert(1)">x</a><b onclick=a()>y</b>'
FRAME = "<iframe src=//evil></iframe><style>*{}</style>z<form action=/><input></form>"


def test_scripts_do_not_come_in():
    (card,) = read(("g", f"{SCRIPT}{LINK}|{FRAME}")).cards
    assert card.front == '<em>[x]</em><a rel="noopener noreferrer">x</a><b>y</b>'
    assert card.back == "z"


def test_a_note_without_its_fields_is_left_out():
    reading = read(GOOD, ("short", "only one"))
    assert [item["place"] for item in reading.left_out] == ["note short"]


def test_a_long_guid_stays_one_identity():
    (card,) = read(("g" * 500, "a|b")).cards
    (again,) = read(("g" * 500, "a|b")).cards
    assert len(card.guid) == 64
    assert card.guid == again.guid


def test_the_list_of_what_is_left_out_is_cut():
    reading = read(*[(f"g{n}", "only") for n in range(200)])
    assert (reading.left_out_count, len(reading.left_out)) == (200, incoming.SHOWN_LEFT_OUT)


def test_a_deck_name_that_is_too_long_is_named():
    more = """UPDATE col SET decks = '{"7": {"name": "%s"}}'""" % ("d" * 300)  # noqa: S608 (braces of JSON)
    (item,) = read(GOOD, more=more).left_out
    assert item["reason"] == "deck of 300 characters; allowed: 200"


# --- protocol buffers -------------------------------------------------------------------------------------------------


def test_texts_and_numbers_of_a_message():
    message = b"\x08\x96\x01\x12\x02hi\x1d\0\0\0\0\x21" + bytes(8)
    assert (number_at(message, 1), text_at(message, 2), text_at(message, 9), number_at(b"", 1)) == (150, "hi", "", 0)


@pytest.mark.parametrize("message", [b"\x08", b"\x08" + b"\xff" * 20, b"\x12\x05hi", b"\x0b", "text", None])
def test_broken_messages_are_refused(message):
    with pytest.raises(ValueError, match="configuration"):
        text_at(message, 2)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(incoming.tempfile, "tempdir", str(tmp_path))
    assert read(GOOD).cards
    assert list(Path(tmp_path).iterdir()) == []
    assert MAX_FIELD == 64_000
