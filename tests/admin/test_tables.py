"""Questions and points as CSV and JSONL: out, changed, and in again, or refused with the place named."""

import csv
import io
import json
from io import StringIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from kb.content.registry import type_named
from kb.editing.tables import MAX_BYTES, TableRefused, table_export, table_import, table_read
from kb.markup import MAX_SOURCE
from kb.models import PendingImport, Point
from kb.services import content_export
from quiz.models import Question
from tests.admin.pages import change_url, save

UPLOAD = "/admin/quiz/question/import/"


def questions():
    return type_named("questions")


def exported(kind="questions"):
    return list(csv.DictReader(io.StringIO(table_export(type_named(kind), "csv").removeprefix("\ufeff"))))


def as_csv(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def load(data, kind="questions", form="csv", **options):
    content_type = type_named(kind)
    return table_import(content_type, table_read(content_type, data, form), **options)


def refusal(data, **options):
    before = [(q.pk, q.answer_en) for q in Question.objects.all()]
    with pytest.raises(TableRefused) as refused:
        load(data, **options)
    assert [(q.pk, q.answer_en) for q in Question.objects.all()] == before
    return str(refused.value)


@pytest.mark.parametrize("kind", ["questions", "points"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_exported_changes_nothing_when_it_comes_back(content, kind, form):
    content_export(folder=content)
    assert load(table_export(type_named(kind), form).encode(), kind, form) == []
    assert content_export(folder=content) == []


def test_spreadsheets_see_utf8_and_no_formulas(why):
    Question.objects.filter(pk=why.pk).update(answer_en="=1+1", answer_zh="- 一")
    table = table_export(questions(), "csv")
    assert table.startswith("\ufeffslug,parent,")
    assert "'=1+1" in table
    assert load(table.encode()) == []


def test_a_changed_cell_changes_its_item_only(why):
    rows = [{"slug": "why-low-rank", "answer_en": "Few directions."}]
    [change] = load(as_csv(rows))
    why.refresh_from_db()
    assert (change.key, change.is_new, [c.name for c in change.changes]) == ("why-low-rank", False, ["answer (en)"])
    assert (why.answer_en, why.answer_zh, why.rubric.count()) == ("Few directions.", "中文", 2)
    assert why.history.first().history_change_reason == "import from a table"


def test_a_dry_run_changes_nothing(why):
    [change] = load(as_csv([{"slug": "why-low-rank", "answer_en": "Other."}]), dry_run=True)
    assert change.changes[0].pieces[-1] == ("new", "Other") or change.changes
    why.refresh_from_db()
    assert why.answer_en == "The change lies in few directions."
    assert why.history.count() == 1


def test_new_items_may_hang_below_each_other(why):
    row = exported()[0]
    root = row | {"slug": "new-one", "position": "7"}
    below = row | {"slug": "new-two", "parent": "new-one", "topic": "", "position": "", "points": "", "status": ""}
    assert [change.is_new for change in load(as_csv([root, below]))] == [True, True]
    added = Question.objects.get(slug="new-two")
    assert (added.parent.slug, added.root.slug, added.topic.slug, added.rubric.count()) == (
        "new-one",
        "new-one",
        "math",
        2,
    )


def test_new_points_may_need_each_other():
    row = exported("points")[0]
    first = row | {"slug": "a-first", "prerequisites": "b-second", "position": "8"}
    second = row | {"slug": "b-second", "position": "9"}
    load(as_csv([first, second]), "points")
    assert Point.objects.get(slug="a-first").prerequisites.get().slug == "b-second"


BROKEN = [
    (b"slug,answr_en\nwhy-low-rank,x\n", "row 1, column answr_en: unknown column"),
    (b"answer_en\nx\n", "row 1, column slug: this column is missing"),
    (b"slug,slug\na,b\n", "row 1, column slug: stands there twice"),
    (b"slug,difficulty\nwhy-low-rank,hard\n", "row 2, column difficulty: Input should be a valid integer"),
    (b"slug,difficulty\nwhy-low-rank,9\n", "row 2, column difficulty: Input should be less than or equal to 5"),
    (b"slug,rubric\nwhy-low-rank,[{\n", "row 2, column rubric: not valid JSON"),
    (b"slug,answer_en\nwhy-low-rank\n", "row 2: has 1 cells; the header has 2"),
    (b"slug,answer_en\nwhy-low-rank,a\nwhy-low-rank,b\n", "row 3, column slug: 'why-low-rank' is already in row 2"),
    (b"slug,answer_en\nwhy-low-rank,[[claim:nothing]]\n", "row 2, column answer_en: there is no claim 'nothing'"),
    (b"slug,answer_en\nwhy-low-rank,\n", "row 2, column answer_en: there is no text"),
    (b"slug,parent\nwhy-low-rank,why-low-rank-when-not\n", "row 2, column parent: an item cannot be moved"),
    (b"slug,topic\nbrand-new,nowhere\n", "row 2, column"),
    (b"slug,parent\nbrand-new,nobody\n", "row 2, column parent: there is no question 'nobody'"),
    ("slug,answer_zh\nwhy-low-rank,中文\n".encode("gbk"), "row 2: not UTF-8"),
    (b"slug,answer_en\nwhy-low-rank,a\0b\n", "row 2: holds a NUL"),
    (b'slug,answer_en\nwhy-low-rank,"open\n', "not valid CSV"),
    (b"", "column slug: this column is missing"),
    (b"slug,answer_en\nwhy-low-rank," + b"x" * (MAX_SOURCE + 1), "row 2, column answer_en: 200001 characters"),
    (b"x" * (MAX_BYTES + 1), "bytes; allowed: 5242880"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN, ids=[message for _data, message in BROKEN])
def test_a_broken_table_is_refused_with_the_place_and_changes_nothing(data, message):
    assert message in refusal(data)


BROKEN_LINES = [
    (b'{"slug": "why-low-rank", "answr": 1}', "row 1, column answr: unknown key"),
    (b'\n{"slug": 3}', "row 2, column slug: every line"),
    (b"{nope", "row 1: not valid JSON"),
    (b'{"slug": "why-low-rank", "answer": 5}', "row 1, column answer"),
    (b'{"slug": "why-low-rank", "rubric": "x"}', "row 1, column rubric"),
    (b'{"slug": "why-low-rank", "status": "retired"}', "row 1, column status"),
    (b"[" * 100_000, "row 1: not valid JSON"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN_LINES, ids=[message for _data, message in BROKEN_LINES])
def test_broken_lines_are_refused_as_well(data, message):
    assert message in refusal(data, form="jsonl")


def test_one_bad_row_keeps_the_good_ones_out(why):
    rows = [{"slug": "why-low-rank", "answer_en": "Good."}, {"slug": "why-low-rank-when-not", "answer_en": "7.5 GB"}]
    assert "row 3, column answer_en" in refusal(as_csv(rows))


def test_the_commands_do_the_same(tmp_path, why):
    out = StringIO()
    call_command("export_questions", "--format", "jsonl", stdout=out)
    assert [json.loads(line)["slug"] for line in out.getvalue().splitlines()] == [
        "why-low-rank",
        "why-low-rank-when-not",
    ]
    file = tmp_path / "table.csv"
    file.write_bytes(as_csv([{"slug": "why-low-rank", "answer_en": "Other."}]))
    out = StringIO()
    call_command("import_questions", file, "--dry-run", stdout=out)
    assert "+ Other" in out.getvalue()
    assert "Would change 1 of 1 items." in out.getvalue()
    call_command("import_questions", file, stdout=StringIO())
    why.refresh_from_db()
    assert why.answer_en == "Other."
    file.write_bytes(b"nope\n")
    with pytest.raises(CommandError, match="Nothing was imported"):
        call_command("import_questions", file)


# --- in the admin -----------------------------------------------------------------------------------------------------


def upload(client, data, name="table.csv"):
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, data)}, follow=True)


def test_an_upload_shows_what_would_change_and_waits(as_staff, why):
    page = upload(as_staff, as_csv([{"slug": "why-low-rank", "answer_en": "<i>Other</i>."}]))
    html = page.content.decode()
    assert "&lt;i&gt;" in html
    assert "table.csv changes 1 items" in html
    why.refresh_from_db()
    assert why.answer_en == "The change lies in few directions."

    address = page.redirect_chain[-1][0]
    as_staff.post(address, {"seal": page.context["seal"]})
    why.refresh_from_db()
    assert why.answer_en == "<i>Other</i>."
    assert not PendingImport.objects.exists()


def test_an_import_that_would_now_change_something_else_is_shown_again(as_staff, why):
    page = upload(as_staff, as_csv([{"slug": "why-low-rank", "answer_en": "Other."}]))
    save(as_staff, why, answer_en="Meanwhile.")
    again = as_staff.post(page.redirect_chain[-1][0], {"seal": page.context["seal"]})
    assert "edited meanwhile" in again.content.decode()
    why.refresh_from_db()
    assert why.answer_en == "Meanwhile."


def test_a_broken_upload_is_explained(as_staff):
    page = upload(as_staff, b"slug,nope\na,b\n")
    assert page.status_code == 422
    assert "row 1, column nope: unknown column" in page.content.decode()
    assert not PendingImport.objects.exists()


def test_an_over_large_upload_is_refused(as_staff):
    page = upload(as_staff, b"x" * (MAX_BYTES + 1))
    assert page.status_code == 422
    assert "allowed: 5242880" in page.content.decode()


def test_others_do_not_see_an_upload(as_staff, as_alice, django_user_model, why):
    page = upload(as_staff, as_csv([{"slug": "why-low-rank", "answer_en": "Other."}]))
    address = page.redirect_chain[-1][0]
    from tests.conftest import client_of

    other = client_of(django_user_model.objects.create_superuser("other", password="x"))
    assert other.get(address).status_code == 404
    assert as_alice.get(address).url.startswith("/admin/login/")
    assert as_alice.get(UPLOAD).url.startswith("/admin/login/")


def test_the_list_offers_tables(as_staff, as_alice):
    html = as_staff.get("/admin/quiz/question/").content.decode()
    assert UPLOAD in html
    response = as_staff.get("/admin/quiz/question/table/csv/")
    assert response["Content-Disposition"] == 'attachment; filename="questions.csv"'
    assert as_alice.get("/admin/quiz/question/table/csv/").status_code == 302


def test_a_page_opened_before_an_import_is_refused(as_staff, why):
    load(as_csv([{"slug": "why-low-rank", "answer_en": "Imported."}]))
    assert save(as_staff, why, answer_en="x", version="old").status_code == 200
    assert change_url(why)
