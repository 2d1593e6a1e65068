"""A browser, and the whole application as `make up` starts it, on the real model."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from tests.stack.processes import ROOT, Stack, need, running_stack

expect.set_options(timeout=20_000)  # milliseconds; torch may have both cores
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Debian's Chromium; Playwright's own download is not needed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    need(found, "Chromium")
    return {"executable_path": found, "args": FLAGS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One application for all tests of a file; the converted model is the one that `make test` prepared."""
    data = tmp_path_factory.mktemp("browser") / "data"
    data.mkdir()
    (ROOT / "var" / "models").mkdir(parents=True, exist_ok=True)
    (data / "models").symlink_to(ROOT / "var" / "models")
    with running_stack(data, LAB_MODELS="smollm2-135m") as site:
        yield site
        assert site.stop() == 0


@pytest.fixture
def page(context: BrowserContext, site: Stack) -> Iterator[Page]:
    """A page that is not allowed to complain: no script error, nothing refused by the Content-Security-Policy."""
    page = context.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []


def sign_in(page: Page, site: Stack) -> None:
    page.goto(f"{site.url}login/")
    page.get_by_label("Username").fill("demo")
    page.get_by_label("Password").fill("demo-proofdeck")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("demo").first.wait_for()
