"""Adapters that runs keep: the files, and the recorded losses from a fresh process with plain PEFT."""

import hashlib
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from peft import PeftModel

from labs.catalog.dora_directions import DoraDirectionsParameters
from labs.catalog.ir_qlora import IrQloraParameters
from labs.catalog.qlora_train import QloraTrainParameters
from labs.catalog.rank_sweep import RankSweepParameters
from labs.records import ArtifactRecord, EvidenceError, MetricRecord, RunRecord
from tests.worker.running import finished_points, run
from worker import keeping, rechecking
from worker.experiments import dora_directions, ir_qlora, qlora_train, rank_sweep
from worker.keeping import Measured, unpack
from worker.models.tiny import tiny_model

COMMON = {"model": "tiny", "steps": 3}
RUNS = {
    "rank-sweep": (rank_sweep, RankSweepParameters(**COMMON, ranks=[2, 4], scalings=["double"])),
    "qlora-train": (qlora_train, QloraTrainParameters(**COMMON, repeats=3)),
    "dora-directions": (dora_directions, DoraDirectionsParameters(**COMMON | {"steps": 4}, learning_rate=1e-2)),
    "ir-qlora": (ir_qlora, IrQloraParameters(**COMMON, encoder="tiny", reaches=[0.0], passages=1)),
}
KEPT = {
    "rank-sweep": {"rank=2,scaling=double": "float32", "rank=4,scaling=double": "float32"},
    "qlora-train": {"method=lora-float32": "float32", "method=qlora": "nf4"},
    "dora-directions": {"method=lora": "float32", "method=dora": "float32"},
    "ir-qlora": {"method=iec": "nf4"},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> dict[str, tuple[Path, dict]]:
    """Folder and results of a run of each lab."""
    found = {}
    for slug, (module, params) in RUNS.items():
        folder = tmp_path_factory.mktemp(slug)
        found[slug] = folder, finished_points(run(module, slug, params, folder, seeds=(0, 1)))
    return found


def test_a_run_keeps_the_adapters_of_its_first_seed(kept, tmp_path):
    for slug, (folder, _) in kept.items():
        found = [unpack(path, tmp_path) for path in folder.glob("*.zip")]
        assert {measured.point: measured.base for measured in found} == KEPT[slug]
        assert {measured.seed for measured in found} == {0}


def test_the_losses_come_back_in_a_fresh_process(kept):
    files = [path for folder, _ in kept.values() for path in folder.glob("*.zip")]
    assert len({path.name for path in files}) == len(files)
    command = [sys.executable, "-m", "worker.reload", "--models", str(settings.MODELS_DIR), *map(str, files)]
    losses = json.loads(subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, check=True).stdout)
    for folder, points in kept.values():
        for path in folder.glob("*.zip"):
            measured = unpack(path, folder)
            recorded = points[measured.point, 0]["validation_loss"]
            assert losses[path.name] == pytest.approx(recorded, abs=rechecking.TOLERANCE), path.name


def test_the_unpacked_file_is_a_folder_for_peft_without_traces_of_the_machine(kept, tmp_path):
    folder, _ = kept["rank-sweep"]
    unpack(folder / "adapter-rank-2-scaling-double-seed0.zip", tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert config["target_modules"] == sorted(config["target_modules"])
    model = PeftModel.from_pretrained(tiny_model(), str(tmp_path))
    assert {p.shape[0] for name, p in model.named_parameters() if "lora_A" in name} == {2}


def test_a_model_card_says_what_it_is(kept):
    folder, _ = kept["qlora-train"]
    with ZipFile(folder / "adapter-method-qlora-seed0.zip") as file:
        card = file.read("README.md").decode()
    assert card.startswith("---\nbase_model: tiny\nlibrary_name: peft\ntags: [lora, proofdeck]\n---\n")
    assert "LORA adapter for `tiny`, base kept in nf4" in card
    assert "`method=qlora` with seed 0" in card


def test_the_same_adapter_gives_the_same_file(kept, tmp_path):
    module, params = RUNS["rank-sweep"]
    run(module, "rank-sweep", params, tmp_path)
    first, _ = kept["rank-sweep"]
    for path in tmp_path.glob("*.zip"):
        assert path.read_bytes() == (first / path.name).read_bytes()


def test_a_very_large_adapter_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "LARGEST_BYTES", 10_000)
    module, params = RUNS["rank-sweep"]
    run(module, "rank-sweep", params, tmp_path)
    assert not list(tmp_path.glob("*.zip"))


def test_other_members_of_a_zip_file_are_left_alone(kept, tmp_path):
    folder, _ = kept["rank-sweep"]
    path = tmp_path / "more.zip"
    path.write_bytes((folder / "adapter-rank-2-scaling-double-seed0.zip").read_bytes())
    with ZipFile(path, "a") as file:
        file.writestr("../outside.txt", "")
    assert unpack(path, tmp_path / "in") == Measured("tiny", "float32", "rank=2,scaling=double", 0)
    assert not (tmp_path / "outside.txt").exists()
    assert len(list((tmp_path / "in").iterdir())) == 3


# --- the command ------------------------------------------------------------------------------------------------------


def record_of(folder: Path, points: dict, **changes) -> RunRecord:
    artifacts = [
        ArtifactRecord(name=p.name, bytes=p.stat().st_size, sha256=hashlib.sha256(p.read_bytes()).hexdigest())
        for p in sorted(folder.glob("*.zip"))
    ]
    metrics = [
        MetricRecord(name=name, unit="", point=point, seed=seed, value=value)
        for (point, seed), values in points.items()
        for name, value in values.items()
    ]
    values = {
        "lab": "rank-sweep", "lab_version": 1, "params": {}, "preset": "", "seeds": [0], "metrics": metrics,
        "summary": [], "environment": {}, "durations": {}, "artifacts": artifacts,
        "created": "2026-01-01T00:00:00+00:00", "command": "",
    }  # fmt: skip
    return RunRecord(**values | changes)


def test_a_file_of_another_run_is_refused(kept):
    folder, points = kept["rank-sweep"]
    record = record_of(folder, points)
    changed = [artifact.model_copy(update={"sha256": "0" * 64}) for artifact in record.artifacts]
    with pytest.raises(EvidenceError, match="is not the file that this run kept"):
        rechecking.recheck(record.model_copy(update={"artifacts": changed}), folder)


@pytest.mark.slow
def test_a_loss_that_differs_is_told(kept):
    folder, points = kept["rank-sweep"]
    other = {key: {"validation_loss": values.get("validation_loss", 0.0) + 0.01} for key, values in points.items()}
    found = rechecking.recheck(record_of(folder, other), folder)
    assert len(found) == 2
    assert not any(check.agrees for check in found)
    assert found[0].as_json()["difference"] == pytest.approx(-0.01, abs=1e-4)


def test_what_cannot_be_checked_is_an_error(tmp_path):
    with pytest.raises(CommandError, match="No adapter was kept"):
        call_command("check_adapters", record=settings.CONTENT_DIR / "evidence" / "nf4-codebook-standard.json")
    with pytest.raises(CommandError, match="No such file"):
        call_command("check_adapters", record=tmp_path / "nowhere.json")


@pytest.mark.slow
def test_three_labs_run_and_their_adapters_give_the_losses_of_their_records():
    out = StringIO()
    call_command("check_adapters", params='{"model": "tiny", "steps": 4}', json=True, stdout=out, stderr=StringIO())
    document = json.loads(out.getvalue())
    assert {found["lab"] for found in document["adapters"]} == {"rank-sweep", "qlora-train", "dora-directions"}
    assert all(abs(found["difference"]) <= 1e-4 == document["tolerance"] for found in document["adapters"])


@pytest.mark.slow
def test_an_adapter_of_the_real_model_gives_the_loss_of_its_record(smollm2):
    out = StringIO()
    params = '{"ranks": [2], "scalings": ["double"], "steps": 2, "batch_size": 2}'
    call_command("check_adapters", "rank-sweep", params=params, json=True, stdout=out, stderr=StringIO())
    [found] = json.loads(out.getvalue())["adapters"]
    assert found["agrees"]
    assert found["point"] == "rank=2,scaling=double"
