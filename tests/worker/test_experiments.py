"""Both labs on the tiny model, against numbers worked out by hand."""

import statistics

import pytest
import torch

from labs.catalog import get_lab
from labs.catalog.merge_check import MergeCheckParameters
from labs.catalog.rank_sweep import RankSweepParameters, points
from tests.worker.running import finished_points, run
from worker.adapters import Adapter, add_adapter, save_adapter
from worker.context import RunContext
from worker.experiments import merge_check, rank_sweep
from worker.merging import AlreadyMerged, Budget, Part, adapted_parts, budget, same_codes
from worker.models.tiny import tiny_model
from worker.protocol import FinishedPoint, Job, MetricEvent, PointEvent, PointName
from worker.quantisation import to_four_bit

# Per layer of the tiny model, in + out features of q, k, v, o, gate, up, down: a LoRA of rank r has r × their sum.
ALL_LINEAR = 2 * ((32 + 32) + (32 + 16) + (32 + 16) + (32 + 32) + (32 + 64) + (32 + 64) + (64 + 32))


SWEEP = RankSweepParameters(model="tiny", ranks=[1, 8, 4], steps=3, learning_rate=1e-2)


@pytest.fixture(scope="module")
def sweep_events(tmp_path_factory):
    return run(rank_sweep, "rank-sweep", SWEEP, tmp_path_factory.mktemp("sweep"), seeds=(0, 1))


@pytest.fixture(scope="module")
def sweep(sweep_events):
    return finished_points(sweep_events)


def test_a_sweep_has_all_its_points(sweep):
    for seed in (0, 1):
        assert {key for key, s in sweep if s == seed} == {
            "",
            "scaling=constant",
            "scaling=double",
            *(f"rank={r},scaling={s}" for r in (1, 4, 8) for s in ("constant", "double")),
        }


def test_trainable_parameters_are_rank_times_the_features(sweep):
    for rank in (1, 4, 8):
        point = sweep[f"rank={rank},scaling=double", 0]
        assert point["trainable_parameters"] == rank * ALL_LINEAR
        assert 4 * rank * ALL_LINEAR < point["adapter_bytes"] < 4 * rank * ALL_LINEAR + 8192  # float32, and a header


def test_the_same_configuration_is_trained_once_and_recorded_twice(sweep, sweep_events):
    # r = 8: alpha 16 is 2r. Its curve is watched under one name only.
    assert sweep["rank=8,scaling=constant", 0] == sweep["rank=8,scaling=double", 0]
    assert sweep["rank=4,scaling=constant", 0] != sweep["rank=4,scaling=double", 0]
    trained = {(e.key, e.seed) for e in sweep_events if isinstance(e, MetricEvent)}
    assert len(trained) == 2 * 5


def test_the_base_loss_is_close_to_that_of_a_uniform_guess(sweep):
    # ln(258 tokens) = 5.553: random weights know nothing.
    assert sweep["", 0]["base_validation_loss"] == pytest.approx(5.553, abs=0.1)
    assert sweep["", 0] == sweep["", 1]


def test_training_lowers_the_loss_and_seeds_differ(sweep):
    assert sweep["rank=8,scaling=double", 0]["validation_loss"] < sweep["", 0]["base_validation_loss"]
    assert sweep["rank=8,scaling=double", 0]["validation_loss"] != sweep["rank=8,scaling=double", 1]["validation_loss"]


def test_differences_follow_from_the_losses(sweep):
    losses = [sweep[f"rank={rank},scaling=constant", 1]["validation_loss"] for rank in (1, 4, 8)]
    assert sweep["scaling=constant", 1] == {
        "validation_loss_drop": losses[0] - losses[2],
        "validation_loss_spread": max(losses) - min(losses),
    }


def test_every_configuration_leaves_the_base_model_as_it_was(sweep, tmp_path):
    """The last configuration of a sweep comes out as it does alone."""
    params = SWEEP.model_copy(update={"ranks": [4], "scalings": ["double"]})
    alone = finished_points(run(rank_sweep, "rank-sweep", params, tmp_path))
    assert alone["rank=4,scaling=double", 0]["validation_loss"] == sweep["rank=4,scaling=double", 0]["validation_loss"]


def test_a_sweep_resumes_with_what_is_missing(sweep, sweep_events, tmp_path):
    missing = {("rank=4,scaling=double", 1), ("rank=8,scaling=double", 0), ("scaling=double", 1)}
    points = [e for e in sweep_events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in points if (e.key, e.seed) not in missing]
    events = run(rank_sweep, "rank-sweep", SWEEP, tmp_path, seeds=(0, 1), finished=kept)
    again = finished_points(events)
    assert set(again) == missing
    # The twin of a finished configuration is copied, the other is trained: the same numbers but for the clock.
    assert {e.key for e in events if isinstance(e, MetricEvent)} == {"rank=4,scaling=double"}
    for key in missing:
        for name, value in again[key].items():
            assert name == "seconds_per_step" or value == sweep[key][name]


MERGE = MergeCheckParameters(model="tiny", steps=5, learning_rate=1e-2, shapes=["1x1", "4x64"], repeats=3)


@pytest.fixture(scope="module")
def merge_events(tmp_path_factory):
    return run(merge_check, "merge-check", MERGE, tmp_path_factory.mktemp("merge"))


@pytest.fixture(scope="module")
def merge(merge_events):
    return {key: values for (key, _), values in finished_points(merge_events).items()}


def test_merging_in_float32_is_rounding_noise(merge):
    exact = merge["dtype=float32"]
    assert exact["adapter_effect"] > 0.1
    assert exact["max_logit_difference"] < 1e-5 * exact["adapter_effect"]
    assert exact["top1_agreement"] == 1.0
    assert exact["roundtrip_weight_difference"] < 1e-6


def test_merging_in_bfloat16_loses_bits(merge):
    # 8 significant bits: relative steps of 2⁻⁸ against 2⁻²⁴ in float32.
    exact, rough = merge["dtype=float32"], merge["dtype=bfloat16"]
    assert rough["max_logit_difference"] > 1000 * exact["max_logit_difference"]
    assert rough["roundtrip_weight_difference"] > 0
    assert rough["relative_logit_difference"] == rough["max_logit_difference"] / rough["adapter_effect"]
    assert rough["mean_logit_difference"] < rough["max_logit_difference"]


def test_the_adapter_has_the_format_of_the_base_and_nothing_else_is_rounded(tmp_path):
    adapter = add_adapter(tiny_model(), Adapter(rank=2, alpha=4, target_modules="all-linear", seed=0))
    save_adapter(adapter, tmp_path)
    model = merge_check.with_adapter(tiny_model(torch.bfloat16), tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert {b.dtype for name, b in model.named_buffers() if name.endswith("inv_freq")} == {torch.float32}


def test_every_variant_is_timed(merge):
    assert not any(key.startswith("dtype=float16,") for key in merge)
    for dtype in ("float32", "bfloat16"):
        for variant in ("base", "adapter", "merged"):
            for shape in ("1x1", "4x64"):
                point = merge[f"dtype={dtype},shape={shape},variant={variant}"]
                base = merge[f"dtype={dtype},shape={shape},variant=base"]
                assert point["latency"] > 0
                assert point["latency_ratio"] == pytest.approx(point["latency"] / base["latency"])


def test_the_ratio_of_a_variant_is_the_geometric_mean_over_shapes(merge):
    ratios = [merge[f"dtype=float32,shape={shape},variant=adapter"]["latency_ratio"] for shape in ("1x1", "4x64")]
    assert merge["dtype=float32,variant=adapter"]["latency_ratio"] == pytest.approx(statistics.geometric_mean(ratios))


def test_float16_rounds_less_than_bfloat16(merge):
    # 11 significant bits against 8
    half, rough = merge["dtype=float16"], merge["dtype=bfloat16"]
    assert half["roundtrip_weight_difference"] < rough["roundtrip_weight_difference"]
    assert half["mean_logit_difference"] < rough["mean_logit_difference"] / 3


def test_peft_adds_an_update_once_however_often_it_is_asked(merge):
    for key in ("dtype=float32", "dtype=bfloat16", "base=nf4,path=peft"):
        assert merge[key]["second_merge_change"] == 0


def test_merging_in_float32_keeps_the_update_of_a_four_bit_base(merge):
    exact = merge["base=nf4,path=float32"]
    assert exact["update_error"] < 1e-4
    assert exact["update_kept"] == pytest.approx(1, abs=1e-4)
    assert exact["loss_above_adapter"] == pytest.approx(0, abs=1e-4)


def test_rounding_and_other_weights_lie_beside_the_update(merge):
    share = merge["base=nf4,path=adapter"]["update_share"]
    rounded, other = merge["base=nf4,path=bfloat16"], merge["base=nf4,path=original"]
    # Rounding to 8 significant bits errs by up to 2⁻⁹ of a weight; NF4 by about a tenth of the weights' norm.
    assert 0 < rounded["update_error"] < 2**-9 * (1 + share) / share
    assert other["update_error"] == pytest.approx(0.09 / share, rel=0.15)


def test_quantising_again_is_what_peft_does(merge):
    ours, theirs = merge["base=nf4,path=requantise"], merge["base=nf4,path=peft"]
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert 0 < ours["codes_unchanged"] < 1


def test_codes_are_compared_one_by_one():
    before, after = torch.tensor([0x12, 0x34], dtype=torch.uint8), torch.tensor([0x12, 0x35], dtype=torch.uint8)
    assert same_codes([before], [after]) == 0.75


def test_a_budget_tells_a_lost_update_from_a_kept_one():
    layer = to_four_bit(tiny_model()).model.layers[0].mlp.up_proj
    weight, update = torch.ones(2, 2), torch.eye(2)
    part = Part("", layer, weight, update)
    assert budget([part], [weight]) == Budget(error=1, kept=0)
    assert budget([part], [weight + update]) == Budget(error=0, kept=1)
    assert budget([part], [weight + 2 * update]) == Budget(error=1, kept=2)


def test_what_is_merged_is_not_merged_again():
    model = add_adapter(to_four_bit(tiny_model()), Adapter(rank=2, alpha=4, target_modules="all-linear", seed=0))
    assert len(adapted_parts(model)) == 14
    model.merge_adapter()
    with pytest.raises(AlreadyMerged):
        adapted_parts(model)


def test_a_finished_merge_check_computes_nothing(merge_events, tmp_path):
    points = [e for e in merge_events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in points]
    assert finished_points(run(merge_check, "merge-check", MERGE, tmp_path, finished=kept)) == {}


@pytest.mark.parametrize(
    "change", [{"ranks": []}, {"ranks": [0]}, {"ranks": [257]}, {"ranks": [4, 4]}, {"scalings": ["root"]}, {"steps": 0}]
)
def test_a_sweep_refuses_parameters_out_of_bounds(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        RankSweepParameters(**change)


@pytest.mark.slow
def test_a_real_sweep_learns_more_with_a_larger_factor(smollm2, tmp_path):
    """SmolLM2: 30 layers, hidden 576, MLP 1536, 9 heads and 3 key–value heads of 64."""
    params = RankSweepParameters(ranks=[1, 8], scalings=["constant"], steps=8)
    job = Job(lab="rank-sweep", params={}, seeds=[0], scratch=str(tmp_path), models_dir=str(smollm2))
    events = []
    rank_sweep.run(params, RunContext(job, get_lab("rank-sweep"), events.append, "cpu"))
    points = finished_points(events)
    features = 30 * (2 * (576 + 576) + 2 * (576 + 192) + 3 * (576 + 1536))
    assert points["rank=8,scaling=constant", 0]["trainable_parameters"] == 8 * features == 2_442_240
    base = points["", 0]["base_validation_loss"]
    assert points["rank=8,scaling=constant", 0]["validation_loss"] < base - 1


def test_points_computed_apart_and_gathered_are_those_of_one_process(sweep, tmp_path):
    """What several workers do with a sweep: a process each for the points, and one for what follows from them."""
    names = [PointName(key=key, seed=seed) for key, seed in points(SWEEP, (0, 1))]
    assert len(names) == 2 * 5
    apart = [run(rank_sweep, "rank-sweep", SWEEP, tmp_path, seeds=(0, 1), only=name) for name in names]
    computed = [event for events in apart for event in events if isinstance(event, PointEvent)]
    assert [(event.key, event.seed) for event in computed] == [(name.key, name.seed) for name in names]
    finished = [FinishedPoint(key=event.key, seed=event.seed, metrics=event.metrics) for event in computed]
    gathered = run(rank_sweep, "rank-sweep", SWEEP, tmp_path, seeds=(0, 1), finished=finished)
    assert not [event for event in gathered if isinstance(event, MetricEvent)]  # nothing is trained again
    both = finished_points(computed) | finished_points(gathered)
    assert without_times(both) == without_times(sweep)


def without_times(found):
    return {place: {k: v for k, v in values.items() if k != "seconds_per_step"} for place, values in found.items()}


def test_a_point_that_cannot_be_computed_takes_only_its_own_with_it(sweep_events, tmp_path):
    computed = [e for e in sweep_events if isinstance(e, PointEvent) and e.seed == 0 and e.key.startswith("rank=")]
    others = [e for e in computed if not e.key.startswith("rank=8")]
    finished = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in others]
    left_out = [PointName(key="rank=8,scaling=constant", seed=0)]
    events = run(rank_sweep, "rank-sweep", SWEEP, tmp_path, finished=finished, left_out=left_out)
    assert set(finished_points(events)) == {("", 0)}  # both differences and the twin need it
