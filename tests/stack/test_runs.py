"""A learner's run over HTTP, on both stacks: real broker, real worker, real child process, toy model."""

import json
import urllib.request
from collections import Counter
from typing import Any

import pytest

from tests.stack.processes import Stack, until

USER, PASSWORD = "learner", "a-long-password"
TOY = {"model": "tiny", "ranks": [1, 2], "scalings": ["constant"], "steps": 3, "batch_size": 2}


class Api:
    """The REST API, signed in with a token."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = f"{url}api/v1/"
        self.token = ""
        self.token = self.call("token/", username=user, password=password)["token"]

    def call(self, path: str, **body: Any) -> Any:
        """POST when there is a body, else GET."""
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Token {self.token}"} if self.token else {}
        )
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data=data, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            return json.load(response)

    def submit(self, **body: Any) -> int:
        return self.call("runs/", again=True, **body)["id"]

    def run(self, number: int) -> dict[str, Any]:
        return self.call(f"runs/{number}/")

    def finished(self, number: int, *, seconds: float = 90) -> dict[str, Any]:
        ends = {"succeeded", "failed", "cancelled", "timed_out"}
        until(lambda: self.run(number)["status"] in ends, seconds=seconds, what=f"the end of run {number}")
        return self.run(number)

    def metrics(self, number: int) -> list[dict[str, Any]]:
        found, page = [], 1
        while True:
            answer = self.call(f"runs/{number}/metrics/?page_size=200&page={page}")
            found += answer["results"]
            if not answer["next"]:
                return found
            page += 1


@pytest.fixture
def api(stack: Stack) -> Api:
    if USER not in stack.manage("shell", "-v", "0", "-c", NAMES):
        stack.manage("shell", "-v", "0", "-c", CREATE)
    return Api(stack.url, USER, PASSWORD)


NAMES = "from django.contrib.auth.models import User; print([u.username for u in User.objects.all()])"
CREATE = f"from django.contrib.auth.models import User; User.objects.create_user({USER!r}, password={PASSWORD!r})"


def results(metrics: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter((m["name"], m["point"], m["seed"], m["step"]) for m in metrics)


def test_a_submitted_run_succeeds_and_its_numbers_can_be_read(api):
    number = api.submit(lab="rank-sweep", params=TOY, seeds=[0])
    run = api.finished(number)
    assert (run["status"], run["percent"], run["reason"]) == ("succeeded", 100, "")
    assert run["environment"]["versions"]["torch"]
    losses = {m["point"]: m["value"] for m in api.metrics(number) if m["name"] == "validation_loss"}
    assert set(losses) == {"rank=1,scaling=constant", "rank=2,scaling=constant"}
    assert all(loss > 0 for loss in losses.values())


def test_a_run_survives_the_death_of_its_worker_exactly_once(stack, api):
    params = TOY | {"ranks": [1, 2, 4], "steps": 100}
    number = api.submit(lab="rank-sweep", params=params, seeds=[0])
    until(lambda: api.run(number)["percent"] > 0, seconds=60, what="the middle of the run")
    min(stack.find("celery"), key=lambda process: process.create_time()).kill()
    run = api.finished(number, seconds=180)
    assert (run["status"], run["reason"]) == ("succeeded", "")
    assert f"Run {number} (rank-sweep), attempt 2" in stack.log
    counted = results(api.metrics(number))
    assert set(counted.values()) == {1}
    assert len({key for key in counted if key[0] == "validation_loss"}) == len(params["ranks"])


def test_a_cancelled_run_stops(api):
    number = api.submit(
        lab="rank-sweep", params=TOY | {"steps": 2000, "batch_size": 1, "ranks": [1, 2, 4, 8]}, seeds=[0]
    )
    until(lambda: api.run(number)["status"] == "running", seconds=30, what="a start")
    api.call(f"runs/{number}/cancel/", please=True)
    assert api.finished(number, seconds=15)["status"] == "cancelled"
