"""The main job from end to end: an answer, its number, the run behind it, and the same run by the reader."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import sign_in
from tests.stack.processes import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("test_story")]

# Generous: how long a quick run takes is for the benchmark to say, not for a test on a busy machine.
QUICK_RUN_MS = 600_000


def test_a_learner_follows_a_number_to_its_run_and_repeats_it(page: Page, site: Stack) -> None:
    sign_in(page, site)

    # A question is answered, revealed and graded.
    page.goto(f"{site.url}questions/")
    page.locator('a[href="/questions/choose-rank/"]').first.click()
    page.get_by_label("Your answer").fill("Capacity, data and memory decide; tune the learning rate with the scale.")
    page.get_by_role("button", name="Show the answer").click()
    expect(page.get_by_text("Capacity, data and memory decide")).to_be_visible()
    page.locator('input[name="made"]').first.check()
    page.locator('button[name="grade"][value="3"]').click()
    expect(page.get_by_role("heading", name="Follow-ups")).to_be_visible()

    # The number in the answer carries a verdict and leads to its evidence.
    chip = page.locator('a.chip[href="/claims/rank-matters/"]').first
    expect(chip).to_have_text(re.compile(r"\d.*(reproduced|refuted|partly true)"))
    chip.hover()
    card = page.get_by_role("tooltip")
    expect(card).to_contain_text("3 seeds")
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    chip.click()
    expect(page.locator(".chip-large")).to_be_visible()
    reference = page.get_by_role("link", name=re.compile("Reference")).first
    expect(reference).to_be_visible()

    # The lab behind it is run again, with the shipped result beside the new one.
    page.get_by_role("link", name=re.compile("^Run “")).click()
    expect(page).to_have_url(re.compile(r"/labs/rank-sweep/#run-it$"))
    page.locator('a[href="?preset=quick#run-it"]').click()
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("progress")).to_be_visible()
    expect(page.locator(".status-succeeded")).to_be_visible(timeout=QUICK_RUN_MS)
    run_path = urlsplit(page.url).path
    expect(page.locator("figure svg").first).to_be_visible()
    header = page.locator("table thead").first
    expect(header).to_contain_text("Reference")
    expect(header).to_contain_text("Run")

    # The reader's run stands on the claims' pages too. One seed decides nothing about a loss; a count it settles.
    for claim, verdict in (("rank-matters", "awaiting run"), ("params-linear-in-rank", "reproduced")):
        page.goto(f"{site.url}claims/{claim}/")
        rows = page.locator("tr").filter(has=page.locator(f'a[href="{run_path}"]'))
        expect(rows.first.locator(".chip")).to_have_text(verdict)
        held = page.locator(".chip-large").inner_text()
        assert held in ("reproduced", "partly true"), f"{claim} is {held} after the run"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "questions/",
        "questions/compare-peft-methods/answer/",
        "questions/nf4-read-back/answer/",
        "points/four-bit-grids/",
        "points/low-bit-float-formats/",
        "points/model-level-counts/",
        "labs/peft-zoo/",
        "claims/",
        "planner/",
    ],
)
def test_no_page_is_wider_than_a_phone(page: Page, site: Stack, path: str) -> None:
    """Wide tables, charts and formulas scroll or wrap in their places."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site.url}{path}")
    expect(page.locator("main")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
