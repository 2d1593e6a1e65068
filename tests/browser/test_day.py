"""A learner's day: new cards, reviews, an undo, a mock interview with follow-ups, its report, the statistics.

Once with the mouse and once by keyboard alone, in the whole application with its worker, and with a grader.
"""

import json
import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.answers import fill_answer, press_on, tab_to, type_answer
from tests.interview.openai_server import Grader, running_grader
from tests.stack.processes import Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("test_day")]

NEW, DUE, QUESTIONS = 5, 10, 4

# What the learner did before: ten cards, each known at once, so long ago that they are due by now.
BEFORE = """
from datetime import timedelta
from uuid import uuid4
from django.contrib.auth.models import User
from django.utils import timezone
from quiz.models import Card
from quiz.review.services import card_grade, cards_sync, settings_change
user, _ = User.objects.get_or_create(username={name!r})
user.set_password("demo-proofdeck")
user.save()
settings_change(user, new_per_day={new})
cards_sync(user)
for card in Card.objects.filter(owner=user).order_by("-position")[:{due}]:
    card_grade(card=card, rating=4, token=uuid4(), at=timezone.now() - timedelta(days=40))
"""
# What the database says about the day: grades that stand, undone ones, and whether the log gives the cards' states.
AFTER = """
import json
from django.contrib.auth.models import User
from django.utils import timezone
from quiz.models import DayTally, ReviewEvent, Sitting
from quiz.review.days import today
from quiz.review.services import study_settings
user = User.objects.get(username={name!r})
tally = DayTally.objects.get(owner=user, day=today(study_settings(user)))
interview = Sitting.objects.get(owner=user, kind="interview")
steps = list(interview.turns.values_list("position", "step"))
print(json.dumps({{
    "new": tally.new,
    "reviews": tally.young + tally.mature,
    "undone": ReviewEvent.objects.filter(owner=user, action="undo").count(),
    "questions": len({{position for position, _ in steps}}),
    "follow_ups": sum(step > 0 for _, step in steps),
    "answers": interview.turns.exclude(attempt=None).count(),
    "advice": [advice["state"] for advice in interview.turns.values_list("advice", flat=True) if advice],
}}))
"""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with running_grader() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, grader: Grader) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("day") / "data"
    data.mkdir()
    with running_stack(data, GRADER_URL=grader.url, GRADER_MODEL="judge-1", GRADER_API_KEY="sk-day") as site:
        yield site
        assert "sk-day" not in site.log
        assert site.stop() == 0


def learner(site: Stack, name: str) -> str:
    site.manage("shell", "--no-imports", "-c", BEFORE.format(name=name, new=NEW, due=DUE))
    return name


def state_after(site: Stack, name: str) -> dict[str, object]:
    return json.loads(site.manage("shell", "--no-imports", "-c", AFTER.format(name=name)).splitlines()[-1])


def expect_the_day(site: Stack, name: str) -> None:
    after = state_after(site, name)
    follow_ups, advice = after.pop("follow_ups"), after.pop("advice")
    assert after == {
        "new": NEW, "reviews": DUE, "undone": 1, "questions": QUESTIONS, "answers": QUESTIONS + follow_ups
    }  # fmt: skip
    assert follow_ups >= QUESTIONS
    assert advice
    assert set(advice) == {"done"}
    assert ": 0 differences found." in site.manage("rebuild_cards", "--check")


# The review ----------------------------------------------------------------------------------------------------------


def counts(page: Page) -> list[int]:
    """In learning, due, new."""
    return [int(number) for number in re.findall(r"\d+", page.locator("#study .counts").inner_text())]


def study(page: Page, grade_one: Callable[[Page, str], None], undo: Callable[[Page], None]) -> None:
    """All cards of the day; the third grade is taken back and given again."""
    expect(page.locator("#study")).not_to_have_attribute("data-pending", "")
    assert counts(page) == [0, DUE, NEW]
    for done in range(NEW + DUE):
        before = counts(page)
        assert sum(before) == NEW + DUE - done
        grade_and_wait(page, grade_one, before)
        if done == 2:
            undo(page)
            expect_counts(page, before)
            grade_and_wait(page, grade_one, before)
    expect(page.get_by_role("heading", name="Done for today")).to_be_visible()


def grade_and_wait(page: Page, grade_one: Callable[[Page, str], None], before: list[int]) -> None:
    is_new = page.locator(".study-card .tags span").first.inner_text().lower() == "new"
    grade_one(page, "4" if is_new else "3")
    expect_counts(page, [before[0], before[1] - (not is_new), before[2] - is_new])


def expect_counts(page: Page, wanted: list[int]) -> None:
    learning, due, new = wanted
    expect(page.locator("#study .counts")).to_have_text(f"Learning {learning} · Due {due} · New {new}")


def grade_with_mouse(page: Page, rating: str) -> None:
    form = page.locator("#study .answer-form")
    if form.count():
        fill_answer(form)
        form.get_by_role("button", name="Check the answer").click()
    else:
        page.locator("#study summary", has_text="Show the answer").click()
    page.locator(f'#study button[name="rating"][value="{rating}"]').click()


def grade_with_keys(page: Page, rating: str) -> None:
    form = page.locator("#study .answer-form")
    if form.count():
        type_answer(page, form)
        press_on(page, form.get_by_role("button", name="Check the answer"))
        expect(page.locator("#study div.back")).to_be_visible()
    else:
        page.keyboard.press("Space")
        expect(page.locator("#study details.back")).to_have_attribute("open", "")
    page.keyboard.press(rating)


def undo_with_keys(page: Page) -> None:
    """The card on the screen may have taken the focus into its text field, which takes letters too."""
    page.keyboard.press("Escape")
    page.keyboard.press("u")


# The interview -------------------------------------------------------------------------------------------------------


def interview(page: Page, answer: Callable[[Page, Locator], None], mark: Callable[[Page, Locator], None]) -> None:
    """Until the report: every question is answered and marked; the grader's advice is waited for once."""
    has_advice = False
    while "/report/" not in page.url:
        asked, marks = page.locator("form[data-answer]"), page.locator("form[data-mark]")
        expect(asked.or_(marks)).to_be_visible()
        if asked.count():
            with page.expect_navigation():
                answer(page, asked)
            continue
        if page.locator(".advice").count() and not has_advice:
            expect(page.locator(".advice")).to_contain_text("Not in the text.", timeout=30_000)
            has_advice = True
        with page.expect_navigation():
            mark(page, marks)
    assert has_advice


def expect_draft_survives(page: Page) -> None:
    """The first question is an open one; what is typed is there again after a reload, and the clock has gone on."""
    text = page.locator("form[data-answer] textarea")
    text.press_sequentially("Half a thought")
    expect(page.get_by_text("Saved", exact=True)).to_be_visible()
    expect(page.locator("[data-clock-time]")).not_to_have_text("0:00")
    page.reload()
    expect(text).to_have_value("Half a thought")
    expect(page.locator("[data-clock-time]")).not_to_have_text("0:00")


def expect_report(page: Page) -> None:
    expect(page.get_by_role("heading", name="Report of the interview")).to_be_visible()
    for part in ("What to read", "Into review", "Transcript"):
        expect(page.get_by_role("heading", name=part)).to_be_visible()
    expect(page.get_by_text("By dimension of the rubric").first).to_be_visible()
    expect(page.locator(".transcript")).to_have_count(QUESTIONS)
    assert page.locator(".transcript .follow-up").count() >= QUESTIONS


def expect_statistics(page: Page) -> None:
    expect(page.get_by_role("heading", name="Statistics", exact=True)).to_be_visible()
    expect(page.locator("#calendar figure svg").first).to_be_visible()
    expect(page.locator(".figures > div", has_text="answers today")).to_contain_text(str(NEW + DUE))


# The days ------------------------------------------------------------------------------------------------------------


def test_a_day_with_the_mouse(page: Page, site: Stack) -> None:
    name = learner(site, "demo")
    page.goto(f"{site.url}login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("demo-proofdeck")
    page.locator("main").get_by_role("button", name="Sign in").click()

    page.get_by_role("navigation", name="Sections").get_by_role("link", name="Review").click()
    page.get_by_role("link", name="Review now").click()
    study(page, grade_with_mouse, lambda page: page.get_by_role("button", name="Undo").click())

    page.get_by_text("Practice", exact=True).click()
    page.get_by_role("link", name="Mock interviews").click()
    page.get_by_label("Length").select_option("questions")
    page.get_by_label("Questions").fill(str(QUESTIONS))
    page.get_by_label(re.compile("Ask this site's grader")).check()
    page.get_by_role("button", name="Begin").click()
    expect_draft_survives(page)

    def answer(page: Page, form: Locator) -> None:
        fill_answer(form)
        form.get_by_role("button", name="That is my answer").click()

    def mark(page: Page, form: Locator) -> None:
        if form.locator('[name="made"]').count():
            form.locator('[name="made"]').first.check()
        form.get_by_role("button", name="Go on").click()

    interview(page, answer, mark)
    expect_report(page)
    page.get_by_role("button", name="Put into review").click()
    expect(page.get_by_text("in your review.").first).to_be_visible()

    page.get_by_text("Practice", exact=True).click()
    page.get_by_role("link", name="Statistics", exact=True).click()
    expect_statistics(page)
    expect_the_day(site, name)


def test_the_same_day_by_keyboard(page: Page, site: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_the_mouse(monkeypatch)
    name = learner(site, "keys")
    page.goto(f"{site.url}login/")
    tab_to(page, page.get_by_label("Username"))
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type("demo-proofdeck")
    page.keyboard.press("Enter")

    press_on(page, page.get_by_role("navigation", name="Sections").get_by_role("link", name="Review"))
    press_on(page, page.get_by_role("link", name="Review now"))
    study(page, grade_with_keys, undo_with_keys)

    press_on(page, page.locator("summary", has_text="Practice"))
    press_on(page, page.get_by_role("link", name="Mock interviews"))
    tab_to(page, page.get_by_label("Length"))
    page.keyboard.type("a number")
    tab_to(page, page.get_by_label("Questions"))
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(str(QUESTIONS))
    press_on(page, page.get_by_label(re.compile("Ask this site's grader")), "Space")
    with page.expect_navigation():
        press_on(page, page.get_by_role("button", name="Begin"))
    expect(page.locator("form[data-answer] textarea")).to_be_focused()
    page.keyboard.press("Escape")  # out of the text, so that ? is no letter of it
    page.keyboard.press("?")
    expect(page.get_by_text("leave a text field")).to_be_visible()

    def answer(page: Page, form: Locator) -> None:
        type_answer(page, form)
        page.keyboard.press("Enter" if form.locator('[name="choice"]').count() else "Control+Enter")

    def mark(page: Page, form: Locator) -> None:
        if form.locator('[name="made"]').count() and not form.locator('[name="made"]').first.is_checked():
            page.keyboard.press("1")
            expect(form.locator('[name="made"]').first).to_be_checked()
        page.keyboard.press("Enter")

    interview(page, answer, mark)
    expect_report(page)
    press_on(page, page.get_by_role("button", name="Put into review"))
    expect(page.get_by_text("in your review.").first).to_be_visible()

    press_on(page, page.locator("summary", has_text="Practice"))
    press_on(page, page.get_by_role("link", name="Statistics", exact=True))
    expect_statistics(page)
    expect_the_day(site, name)


def forbid_the_mouse(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test cannot cheat."""

    def refuse(self: Locator, *arguments: object, **options: object) -> None:
        raise AssertionError("No mouse here")

    for action in ("click", "check", "fill", "select_option", "tap", "focus", "press"):
        monkeypatch.setattr(Locator, action, refuse)
