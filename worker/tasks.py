"""The tasks. Thin: the row is the truth, the message only says which."""

from labs.broker import RUN_LAB, app
from worker import runs


@app.task(name=RUN_LAB)
def run_lab(run_id: int) -> None:
    runs.execute(run_id)
