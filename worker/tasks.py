"""The tasks. Thin: the row is the truth, the message only says which."""

from celery import Task

from labs.broker import RUN_LAB, RUN_PART, app
from quiz.review import rescheduling
from quiz.statistics.optimising import TASK, TIME_LIMIT
from worker import parts, runs


@app.task(name=RUN_LAB, bind=True)
def run_lab(self: Task, run_id: int) -> None:
    runs.execute(run_id, worker=self.request.hostname or "")


@app.task(name=RUN_PART, bind=True)
def run_part(self: Task, part_id: int) -> None:
    parts.execute_part(part_id, worker=self.request.hostname or "")


@app.task(name=TASK, soft_time_limit=TIME_LIMIT)
def optimise(optimisation_id: int) -> None:
    from worker.optimise import execute

    execute(optimisation_id)


@app.task(name=rescheduling.TASK)
def reschedule(owner_id: int) -> None:
    while rescheduling.rescheduling_go_on(owner_id):
        pass
