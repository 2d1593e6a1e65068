"""What an experiment sees of its run."""

import math

import pytest

from labs.catalog import get_lab
from worker.context import BadArtifact, NotFinite, RunContext
from worker.protocol import FinishedPoint, PointName, Value


@pytest.fixture
def events():
    return []


@pytest.fixture
def lab(job, events):
    earlier = FinishedPoint(key="rank=8", seed=0, metrics=[Value(name="validation_loss", value=1.25)])
    job = job.model_copy(update={"finished": [earlier], "seeds": [0, 1]})
    return RunContext(job, get_lab("rank-sweep"), events.append, "cpu")


def test_a_point_is_handed_over_once_with_all_its_values(lab, events):
    with lab.point(seed=1, scaling="double", rank=2) as point:
        assert not point.is_finished
        point.log("loss", 3.0, step=0)
        point.log("validation_loss", 2.0)
    assert [event.event for event in events] == ["metric", "point"]
    assert events[1].key == "rank=2,scaling=double"
    assert events[1].seed == 1
    assert [(v.name, v.step, v.value) for v in events[1].metrics] == [("loss", 0, 3.0), ("validation_loss", None, 2.0)]


def test_a_point_that_fails_is_not_handed_over(lab, events):
    with pytest.raises(NotFinite), lab.point(seed=0, rank=2) as point:
        point.log("validation_loss", math.nan)
    assert events == []


def test_an_earlier_point_is_finished_and_can_be_read(lab, events):
    with lab.point(seed=0, rank=8) as point:
        assert point.is_finished
        assert point.value("validation_loss") == 1.25
    assert events == []
    assert not lab.point(seed=1, rank=8).is_finished


def test_a_point_of_this_attempt_can_be_read_too(lab):
    with lab.point(seed=1, rank=4) as point:
        point.log("validation_loss", 0.5)
    assert lab.point(seed=1, rank=4).value("validation_loss") == 0.5
    with pytest.raises(KeyError, match="no result 'unseen_loss'"):
        lab.point(seed=1, rank=4).value("unseen_loss")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_says_where(lab, value):
    with pytest.raises(NotFinite, match=rf"loss at rank=64 \(seed 0, step 3\) was {value}"):
        lab.point(seed=0, rank=64).log("loss", value, step=3)


def test_only_declared_metrics_can_be_logged(lab):
    with pytest.raises(KeyError, match="rank-sweep has no metric 'accuracy'"):
        lab.point(seed=0).log("accuracy", 1.0)


def test_an_artifact_stays_in_scratch(lab, events, tmp_path):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"x")
    lab.artifact("adapter.safetensors", path)
    assert events[0].path == str(path)
    with pytest.raises(BadArtifact):
        lab.artifact("passwords.json", tmp_path / ".." / "passwords.json")


@pytest.mark.parametrize("name", ["../a.json", "/a.json", "a/b.json", ".hidden.json", "a.py", "a.json\n", "", "a"])
def test_an_artifact_needs_a_plain_name_with_an_allowed_suffix(lab, tmp_path, name):
    path = tmp_path / "a.json"
    path.write_text("{}")
    with pytest.raises(BadArtifact):
        lab.artifact(name, path)


# --- points that are shared out ---------------------------------------------------------------------------------------


def test_only_the_wanted_point_is_due(job, events):
    only = PointName(key="rank=4", seed=0)
    lab = RunContext(job.model_copy(update={"only": only}), get_lab("rank-sweep"), events.append, "cpu")
    for rank in (2, 4, 8):
        with lab.point(seed=0, rank=rank) as point:
            assert point.is_due == (rank == 4)
            point.log("loss", 1.0, step=0)
    assert [(event.event, event.key) for event in events] == [("metric", "rank=4"), ("point", "rank=4")]


def test_what_needs_a_left_out_point_is_left_out_too(job, events):
    left_out = [PointName(key="rank=4", seed=0)]
    lab = RunContext(job.model_copy(update={"left_out": left_out}), get_lab("rank-sweep"), events.append, "cpu")
    with lab.point(seed=0) as derived:
        derived.log("validation_loss", lab.point(seed=0, rank=4).value("validation_loss"))
    with lab.point(seed=0, rank=5) as twin:
        twin.copy_from(lab.point(seed=0, rank=4))
    with lab.point(seed=0, rank=4) as point:
        assert not point.is_due
    assert events == []


def test_a_shared_point_keeps_no_files(job, events, tmp_path):
    only = PointName(key="rank=4", seed=0)
    lab = RunContext(job.model_copy(update={"only": only}), get_lab("rank-sweep"), events.append, "cpu")
    (tmp_path / "notes.csv").write_text("a,b\n")
    lab.artifact("notes.csv", tmp_path / "notes.csv")
    assert events == []


def test_each_point_has_a_folder_for_checkpoints(job, tmp_path):
    lab = RunContext(
        job.model_copy(update={"checkpoints": str(tmp_path / "kept")}), get_lab("rank-sweep"), print, "cpu"
    )
    folders = {lab.checkpoints(lab.point(seed=seed, rank=rank)) for seed in (0, 1) for rank in (2, 4)}
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {tmp_path / "kept"}
