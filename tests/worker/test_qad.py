"""The lab on distilling into four bits: its loss against the definition, its results against what they are made of."""

import pytest
import torch

from labs.catalog.qad import QadParameters
from tests.worker.running import finished_points, run
from worker.distillation import compare, distillation_loss, divergence
from worker.experiments import qad
from worker.models.tiny import tiny_model
from worker.protocol import FinishedPoint, PointEvent
from worker.quantisation import to_four_bit
from worker.training.config import TrainingConfig
from worker.training.examples import Example, collate
from worker.training.loop import train
from worker.training.loss import evaluate

PARAMS = QadParameters(model="tiny", steps=6, learning_rate=3e-4, passages=2)
EXAMPLES = [Example(tuple(range(i, i + 12)), 4 + i) for i in range(6)]


def test_the_divergence_is_the_sum_of_p_log_p_over_q():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    p, q = teacher.softmax(-1), student.softmax(-1)
    assert divergence(student, teacher).item() == pytest.approx((p * (p / q).log()).sum().item(), rel=1e-12)
    assert divergence(teacher, teacher).item() == 0


def test_the_gradient_of_the_loss_is_the_difference_of_probabilities():
    """Of KL(p ‖ q) with respect to the student's logits: q − p, over the number of positions."""
    torch.manual_seed(0)
    teacher = torch.randn(5, 7, dtype=torch.float64)
    student = torch.randn(5, 7, dtype=torch.float64, requires_grad=True)
    divergence(student, teacher).backward()
    torch.testing.assert_close(student.grad, (student.softmax(-1) - teacher.softmax(-1)).detach())


def test_the_loss_is_a_mean_over_labels_and_takes_no_notice_of_them():
    model, teacher = tiny_model(torch.float64), to_four_bit(tiny_model()).double()
    batch = collate(EXAMPLES)
    loss = distillation_loss(teacher)(model, batch)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    whole = compare(model, teacher, EXAMPLES)
    assert loss.item() == pytest.approx(whole.divergence, rel=1e-5)
    assert whole.tokens == sum(len(e.tokens) - e.answer_start for e in EXAMPLES)
    assert whole.loss == pytest.approx(evaluate(model, EXAMPLES).loss, rel=1e-6)
    assert compare(model, model, EXAMPLES).divergence == 0


def test_the_shared_loop_takes_the_loss():

    teacher, student = tiny_model(), tiny_model()
    student.requires_grad_(True)
    student.lm_head.weight.data += 0.02 * torch.randn_like(student.lm_head.weight)
    before = compare(student, teacher, EXAMPLES).divergence
    config = TrainingConfig(steps=5, batch_size=6, learning_rate=1e-3, seed=0)
    result = train(student, EXAMPLES, config, objective=distillation_loss(teacher))
    assert result.losses[0] == pytest.approx(before, rel=1e-4)
    assert compare(student, teacher, EXAMPLES).divergence < before


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(qad, "qad", PARAMS, tmp_path_factory.mktemp("qad"), seeds=(0, 1))


@pytest.fixture(scope="module")
def points(events):
    return finished_points(events)


def test_results_are_compared_with_the_untrained_student_and_with_labels(points):
    for seed in (0, 1):
        for text in ("answers", "prose"):
            teacher = points[f"model=teacher,text={text}", seed]
            none, labels, distilled = (
                points[f"text={text},training={training}", seed] for training in ("none", "labels", "distilled")
            )
            assert none["kl"] > 0
            assert none["loss_above_teacher"] == none["text_loss"] - teacher["text_loss"]
            assert distilled["kl_removed"] == pytest.approx(100 * (1 - distilled["kl"] / none["kl"]))
            assert distilled["loss_above_labels"] == distilled["text_loss"] - labels["text_loss"]
            assert "kl_removed" not in none


def test_each_training_does_what_its_loss_says(points):
    for seed in (0, 1):
        none, labels, distilled = (
            points[f"text=answers,training={training}", seed] for training in ("none", "labels", "distilled")
        )
        assert labels["text_loss"] < min(none["text_loss"], distilled["text_loss"])
        assert distilled["kl"] < min(none["kl"], labels["kl"])


def test_only_trainings_differ_between_seeds(points):
    assert points["text=prose,training=none", 0] == points["text=prose,training=none", 1]
    assert points["text=prose,training=labels", 0] != points["text=prose,training=labels", 1]


def test_a_training_that_diverges_is_a_result(tmp_path):
    points = finished_points(run(qad, "qad", PARAMS.model_copy(update={"learning_rate": 1e9}), tmp_path))
    assert points["training=labels", 0]["diverged"] == 1
    assert ("text=prose,training=labels", 0) not in points


def test_a_resumed_run_computes_what_is_missing(events, points, tmp_path):
    missing = {("training=distilled", 1), ("text=prose,training=distilled", 1)}
    found = [e for e in events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in found if (e.key, e.seed) not in missing]
    again = finished_points(run(qad, "qad", PARAMS, tmp_path, seeds=(0, 1), finished=kept))
    assert again.keys() == missing
    assert all(again[key] == points[key] for key in missing)
