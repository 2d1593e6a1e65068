"""A real training, on the tiny model, whose processes are killed in the middle."""

import psutil
import pytest

from tests.faults.site import FINAL, Site
from tests.stack.processes import until

STEPS = 400


@pytest.fixture
def real_site(site):
    site.stop_worker("a", within=20)
    site.start_worker("a", app="worker.app")
    yield site
    site.stop_worker("a", within=20)
    site.start_worker("a")


def ended(site: Site, run_id: int) -> dict:
    until(lambda: site.look([run_id])[0]["status"] in FINAL, seconds=120, what="the end of a training")
    return dict(site.look([run_id])[0])


def checkpoints(site: Site, run_id: int) -> list[str]:
    """Attempt and step of those that are complete."""
    folder = site.data_dir / "runs" / "checkpoints" / str(run_id)
    return [f"{path.parent.parent.name} {path.name}" for path in folder.glob("*/*/step-*")]


def test_a_killed_training_goes_on_from_its_checkpoint_with_the_same_losses(real_site):
    [whole] = real_site.submit(points=1, pause=STEPS)
    assert ended(real_site, whole)["status"] == "succeeded"
    [killed] = real_site.submit(points=1, pause=STEPS)
    until(lambda: any(" step-" in name for name in checkpoints(real_site, killed)), seconds=60, what="a checkpoint")
    for process in psutil.Process(real_site.processes["a"].pid).children(recursive=True):
        process.kill()  # the training, and what supervises it
    left = checkpoints(real_site, killed)
    until(lambda: real_site.look([killed])[0]["attempt"] == 2, seconds=40, what="a second attempt")
    until(lambda: any("run-2" in name for name in checkpoints(real_site, killed)), seconds=60, what="its checkpoint")
    run = ended(real_site, killed)
    assert (run["status"], run["attempt"], left[0].split()[0]) == ("succeeded", 2, "run-1")
    expected, found = (real_site.do("values", id=run_id) for run_id in (whole, killed))
    assert found == pytest.approx(expected, abs=1e-6, rel=0)
    assert len([name for name in found if name.startswith("loss ")]) == STEPS
    until(lambda: not checkpoints(real_site, killed), seconds=10, what="the end of the checkpoints")
