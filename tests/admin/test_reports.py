"""Readers report errors, signed in or not; editors find them."""

import pytest

from kb.models import ErrorReport, Point
from labs.models import Claim

ADDRESSES = ["/report/point/rank/", "/report/question/why-low-rank/", "/report/claim/lora-params/"]


@pytest.mark.parametrize(
    ("page", "report"),
    [
        ("/points/rank/", ADDRESSES[0]),
        ("/questions/why-low-rank/answer/", ADDRESSES[1]),
        ("/claims/lora-params/", ADDRESSES[2]),
    ],
)
def test_every_page_with_an_answer_links_to_a_report(as_charlie, page, report):
    assert f'href="{report}"' in as_charlie.get(page).content.decode()


@pytest.mark.parametrize("address", ADDRESSES)
def test_anybody_can_report(as_charlie, address):
    assert as_charlie.get(address).status_code == 200
    response = as_charlie.post(address, {"text": "It is 512."}, follow=True)
    assert "The editors will look at it" in response.content.decode()
    found = ErrorReport.objects.get()
    assert (f"/report/{found.kind}/{found.slug}/", found.text, found.reporter) == (address, "It is 512.", None)
    assert (found.status, found.language) == ("open", "en")


def test_a_report_knows_who_sent_it(as_alice, alice):
    as_alice.post(ADDRESSES[0], {"text": "x"})
    assert ErrorReport.objects.get().reporter == alice


@pytest.mark.parametrize("text", ["", "   ", "word " * 401, "nul \0"])
def test_what_was_typed_stays_in_a_refused_form(as_charlie, text):
    response = as_charlie.post(ADDRESSES[0], {"text": text})
    assert response.status_code == 422
    assert text.strip() in response.content.decode()
    assert not ErrorReport.objects.exists()


def test_too_many_reports_are_refused_and_the_text_is_kept(as_charlie):
    codes = [as_charlie.post(ADDRESSES[0], {"text": f"Number {n}."}).status_code for n in range(10)]
    response = as_charlie.post(ADDRESSES[0], {"text": "One more."})
    assert codes == [302] * 10
    assert response.status_code == 429
    assert "One more." in response.content.decode()
    assert ErrorReport.objects.count() == 10


@pytest.mark.parametrize("address", ["/report/point/nothing/", "/report/user/staff/", "/report/reference/hu2021/"])
def test_only_what_readers_see_can_be_reported(as_charlie, address):
    assert as_charlie.get(address).status_code == 404
    assert as_charlie.post(address, {"text": "x"}).status_code == 404


def test_a_draft_cannot_be_reported(as_charlie):
    Point.objects.filter(slug="rank").update(status="draft")
    assert as_charlie.get(ADDRESSES[0]).status_code == 404


def test_editors_work_through_the_queue(as_staff, as_charlie):
    as_charlie.post(ADDRESSES[2], {"text": "<script>alert(1)</script>"})
    found = ErrorReport.objects.get()
    html = as_staff.get("/admin/kb/errorreport/").content.decode()
    assert Claim.objects.get(slug="lora-params").get_absolute_url() in html
    assert "<script>alert" not in html
    actions = {"action": "mark_fixed", "_selected_action": [found.pk]}
    as_staff.post("/admin/kb/errorreport/", actions)
    found.refresh_from_db()
    assert found.status == ErrorReport.FIXED
