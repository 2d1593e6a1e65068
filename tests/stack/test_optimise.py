"""Fitting parameters through the real queue: the web's side sends a name, the worker answers in the row."""

import json
import sqlite3

from quiz.statistics.optimising import LEAST_REVIEWS
from tests.stack.processes import Stack, until

ASK = """
from django.contrib.auth.models import User
from quiz.statistics.optimising import optimisation_start
print(optimisation_start(User.objects.create_user("fitting")).pk)
"""


def row(stack: Stack, number: int) -> tuple[str, str]:
    with sqlite3.connect(f"file:{stack.data_dir / 'proofdeck.sqlite3'}?mode=ro", uri=True) as database:
        found: tuple[str, str] = database.execute(
            "SELECT status, reason FROM quiz_optimisation WHERE id = ?", [number]
        ).fetchone()
    return found


def test_the_worker_computes_a_fit_that_was_asked_for_by_name(embedded_stack: Stack) -> None:
    number = int(embedded_stack.manage("shell", "-v", "0", "-c", ASK))
    until(lambda: row(embedded_stack, number)[0] in ("succeeded", "failed"), seconds=60, what="the end of the fit")
    status, reason = row(embedded_stack, number)
    assert status == "failed"
    assert json.loads(reason) == {"code": "few", "reviews": 0, "needed": LEAST_REVIEWS}
