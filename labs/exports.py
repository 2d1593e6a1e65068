"""A run to take away: its record as JSON, its numbers as CSV, and a script that repeats it without the site."""

import csv
import io
import json
import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC
from textwrap import dedent
from typing import Any

from labs.models import Run
from labs.records import ArtifactRecord, MetricRecord, RunRecord, run_lab_arguments, seal, summarise, to_json

COLUMNS = ("metric", "point", "seed", "step", "value", "unit")


def record_of(run: Run) -> RunRecord:
    """The same document that `run_lab --json` prints, with its digest."""
    metrics = list(_metrics(run))
    record = RunRecord(
        lab=run.lab_slug,
        lab_version=run.lab_version,
        params=run.params,
        preset=run.preset,
        seeds=run.seeds,
        metrics=metrics,
        summary=summarise(run.lab, metrics),
        environment=run.environment,
        durations=run.durations,
        artifacts=[ArtifactRecord(name=a.name, bytes=a.size, sha256=a.sha256) for a in run.artifacts.all()],
        created=(run.finished_at or run.created_at).astimezone(UTC).isoformat(timespec="seconds"),
        command=repeat_command(run),
    )
    return seal(record)


def _metrics(run: Run) -> Iterator[MetricRecord]:
    """What an older version of the lab logged and this one does not know has no unit, and is left out."""
    units = {metric.name: metric.unit for metric in run.lab.metrics}
    for name, point, seed, step, value in run.values.values_list("name", "point", "seed", "step", "value"):
        if name in units:
            yield MetricRecord(name=name, unit=units[name], point=point, seed=seed, step=step, value=value)


def json_of(run: Run) -> str:
    return to_json(record_of(run))


def csv_of(run: Run) -> str:
    """One row a number; an empty step is a result, a number a place on a curve."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for m in _metrics(run):
        writer.writerow([m.name, m.point, m.seed, "" if m.step is None else m.step, repr(m.value), m.unit])
    return text.getvalue()


def repeat_command(run: Run) -> str:
    """The shell command that repeats it, in a clone of the project."""
    return shell_command(run.lab_slug, run.preset, run.params, run.seeds)


def shell_command(lab: str, preset: str, params: dict[str, Any] | None = None, seeds: Iterable[int] = ()) -> str:
    return shlex.join([".venv/bin/python", *run_lab_arguments(lab, preset, params or {}, seeds), "--json"])


SCRIPT = """\
    #!/bin/sh
    # Repeats a run of the lab {lab} and sets its numbers beside those recorded. Start it in a clone of Proofdeck:
    # the code that ran is checked out into a folder of its own, and neither a site nor a GPU is needed.
    set -eu
    {checkout}
    make setup
    {command} > result.json
    .venv/bin/python - <<'PYTHON'
    import json

    recorded = json.loads({recorded!r})
    found = {{(row["name"], row["point"]): row["mean"] for row in json.load(open("result.json"))["summary"]}}
    print("metric, point: recorded, repeated")
    for name, point, mean in recorded:
        print(f"{{name}}, {{point}}: {{mean:.6g}}, {{found.get((name, point), float('nan')):.6g}}")
    PYTHON
"""


def script_of(run: Run) -> str:
    """A shell script; where the commit that ran is not known, it uses the code that is there and says so."""
    commit = (run.environment.get("revision") or {}).get("commit", "")
    folder = f"proofdeck-{commit[:8]}"
    # Two lines: `set -e` does not see a failure on the left of `&&`.
    checkout = f'git worktree add --detach "{folder}" {commit}\ncd "{folder}"'
    return dedent(SCRIPT).format(
        lab=run.lab_slug,
        checkout=checkout if commit else "# The commit that ran was not recorded: this repeats it with the code here.",
        command=repeat_command(run),
        recorded=json.dumps([[row.name, row.point, row.mean] for row in record_of(run).summary]),
    )
