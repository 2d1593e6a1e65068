"""Runs as TensorBoard event files."""

from collections import defaultdict
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from labs.models import MetricValue, Run
from tests.builders import add_values, make_run
from worker.tracking import track

pytestmark = pytest.mark.django_db
POINT = "rank=64,scaling=double"


@pytest.fixture
def run(alice) -> Run:
    run = add_values(make_run(alice), "validation_loss", POINT, 0.5, 0.75)
    for step, value in enumerate((2.0, 1.5)):
        MetricValue.objects.create(run=run, name="loss", point=POINT, seed=1, step=step, value=value)
    return run


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read back what was written, record by record, as TensorBoard does."""
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    [file] = folder.glob("events.*")
    data = file.read_bytes()
    while data:
        length = int.from_bytes(data[:8], "little")
        body = data[12 : 12 + length]
        assert int.from_bytes(data[12 + length : 16 + length], "little") == masked_crc32c(body)
        event = Event.FromString(body)
        for value in event.summary.value:
            found[value.tag].append((event.step, value.simple_value))
        data = data[16 + length :]
    return dict(found)


def test_each_point_and_seed_has_its_curves_and_results(run, settings, tmp_path):
    settings.TENSORBOARD_DIR = str(tmp_path)
    track(run)
    folder = tmp_path / "rank-sweep" / f"run-{run.pk}"
    assert scalars(folder / "rank=64_scaling=double-seed0") == {"validation_loss": [(0, 0.5)]}
    assert scalars(folder / "rank=64_scaling=double-seed1") == {
        "validation_loss": [(0, 0.75)],
        "loss": [(0, 2.0), (1, 1.5)],
    }
    assert b'"lab": "rank-sweep"' in next(folder.glob("events.*")).read_bytes()


def test_without_a_folder_nothing_is_written(run, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings.TENSORBOARD_DIR = ""
    track(run)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_harms_no_run(run, settings, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    settings.TENSORBOARD_DIR = str(tmp_path / "file")
    track(run)
    assert "could not be written for TensorBoard" in caplog.text
