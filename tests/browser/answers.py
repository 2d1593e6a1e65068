"""Answering any kind of question in the browser, with the mouse or by keyboard alone.

Right or wrong does not matter here: what comes of an answer is for the tests of grading.
"""

from playwright.sync_api import Locator, Page

SPOKEN = "Rank is capacity; a sweep with several seeds on a validation set decides. 秩是容量。"
MOST_TABS = 150


def fill_answer(form: Locator, text: str = SPOKEN) -> None:
    """With the mouse."""
    if form.locator("textarea").count():
        form.locator("textarea").fill(text)
    elif form.locator('[name="choice"]').count():
        form.locator('[name="choice"]').first.check()
    elif form.locator("select").count():
        for place, select in enumerate(form.locator("select").all(), start=1):
            select.select_option(str(place))
    else:
        for field in form.locator('input[type="text"]').all():
            field.fill("42")


def type_answer(page: Page, form: Locator, text: str = SPOKEN) -> None:
    """By keyboard: Tab from field to field."""
    if form.locator("textarea").count():
        tab_to(page, form.locator("textarea"))
        page.keyboard.insert_text(text)
    elif form.locator('[name="choice"]').count():
        tab_to(page, form.locator('[name="choice"]').first)
        page.keyboard.press("Space")
    elif form.locator("select").count():
        for place, select in enumerate(form.locator("select").all(), start=1):
            tab_to(page, select)
            page.keyboard.press(str(place))
    else:
        for field in form.locator('input[type="text"]').all():
            tab_to(page, field)
            page.keyboard.type("42")


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the element has the focus, as somebody without a mouse does."""
    for _ in range(MOST_TABS):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} cannot be reached with the Tab key")


def press_on(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)
