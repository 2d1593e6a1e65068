"""A training that was killed goes on as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.worker import training_child
from worker.models.tiny import tiny_model
from worker.training.checkpoint import Checkpoints, OtherTraining
from worker.training.config import TrainingConfig
from worker.training.loop import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def uninterrupted():
    model = training_child.dropping_out()
    return training_child.run(None, model=model), dict(model.named_parameters())


def kill_after(step: int, folder: Path) -> None:
    """Start a training in a process and kill it once it has said that it did the step."""
    command = [sys.executable, "-m", "tests.worker.training_child", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for line in child.stdout:
            if int(line) >= step:
                child.send_signal(signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_training_resumes_exactly(tmp_path, uninterrupted, seed):
    expected, weights = uninterrupted
    kill_after(random.Random(seed).randrange(training_child.EVERY, training_child.STEPS - 4), tmp_path)
    done = max(int(path.name.removeprefix("step-")) for path in tmp_path.glob("step-*"))
    assert 0 < done < training_child.STEPS

    heard = []
    model = training_child.dropping_out()
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    resumed = training_child.run(tmp_path, lambda step, loss: heard.append((step, loss)), model)
    assert resumed.losses == pytest.approx(expected.losses, abs=1e-6, rel=0)
    assert resumed.gradient_norms == pytest.approx(expected.gradient_norms, rel=1e-5)
    assert heard == list(enumerate(resumed.losses))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, weights[name], atol=1e-6, rtol=0)


@pytest.fixture
def finished(tmp_path):
    training_child.run(tmp_path)
    return tmp_path


def test_a_finished_training_is_not_done_again(finished, uninterrupted):
    again = training_child.run(finished)
    assert again.losses == uninterrupted[0].losses
    assert [path.name for path in finished.iterdir()] == [f"step-{training_child.STEPS:06}"]


def test_a_checkpoint_is_tensors_and_json(finished):
    [checkpoint] = finished.iterdir()
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
        "trained.safetensors",
    ]
    [result] = json.loads((checkpoint / "state.json").read_text())["results"]
    assert len(result["losses"]) == training_child.STEPS


def test_what_was_not_finished_is_ignored_and_cleared_away(finished):
    unfinished = finished / ".unfinished-x"
    unfinished.mkdir()
    (unfinished / "state.json").write_text("{")
    for path in (finished / f"step-{training_child.STEPS:06}").iterdir():
        path.unlink()
    (finished / f"step-{training_child.STEPS:06}").rmdir()
    training_child.run(finished)
    assert [path.name for path in finished.iterdir()] == [f"step-{training_child.STEPS:06}"]


@pytest.mark.parametrize("change", [{"learning_rate": 2e-2}, {"seed": 4}])
def test_a_checkpoint_of_another_training_is_refused(finished, change):
    config = TrainingConfig(**{"steps": 24, "batch_size": 3, "learning_rate": 1e-2, "seed": 3} | change)
    examples = [training_child.example(n) for n in range(10)]
    with pytest.raises(OtherTraining, match="is of another training"):
        train(tiny_model(), examples, config, checkpoints=Checkpoints(finished, 3))
