"""Experiments run in this process, on the tiny model."""

from labs.catalog import get_lab
from worker.context import RunContext
from worker.protocol import Job, PointEvent


def run(module, slug, params, folder, *, seeds=(0,), finished=(), **more):
    """The events of a run."""
    job = Job(
        lab=slug,
        params=params.model_dump(mode="json"),
        seeds=list(seeds),
        scratch=str(folder),
        models_dir=str(folder),
        finished=list(finished),
        **more,
    )
    events = []
    module.run(params, RunContext(job, get_lab(slug), events.append, "cpu"))
    return events


def finished_points(events) -> dict:
    """{(point, seed): {metric: result}}"""
    return {
        (event.key, event.seed): {v.name: v.value for v in event.metrics if v.step is None}
        for event in events
        if isinstance(event, PointEvent)
    }
