"""The lab on the error of few bits, on the tiny model: bits and errors by hand, outputs by a plain computation."""

import math

import pytest
import torch

from labs.catalog.quantisation_error import QuantisationErrorParameters
from tests.worker.running import finished_points, run
from worker.data.sets import load
from worker.experiments import quantisation_error
from worker.experiments.quantisation_error import Variant, stored
from worker.models.tiny import tiny_model, tiny_tokenizer
from worker.protocol import FinishedPoint, PointEvent
from worker.quantisation import layer_linears, quantise

PARAMS = QuantisationErrorParameters(model="tiny", encoder="tiny", blocks=[32, 64], passages=2)
WEIGHTS = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(quantisation_error, "quantisation-error", PARAMS, tmp_path_factory.mktemp("error"), seeds=(0, 1))


@pytest.fixture(scope="module")
def points(events):
    return finished_points(events)


def key(form: str, part: str, block: int = 64, constants: str = "plain") -> str:
    return f"block={block},constants={constants},format={form},part={part}"


def test_every_variant_is_there_for_both_models(points):
    assert len([k for k, seed in points if seed == 0 and "block" in k]) == 4 * 2 * 2 * 2
    assert {k for k, _ in points if "layer" in k} >= {f"format=nf4,layer={n},part=encoder" for n in (0, 1)}


@pytest.mark.parametrize(("form", "bits", "table"), [("nf4", 4, 16), ("int4", 4, 15), ("int8", 8, 255)])
def test_bits_are_those_of_codes_constants_and_table(points, form, bits, table):
    for block in (32, 64):
        expected = bits + 32 / block + 32 * table / WEIGHTS
        assert points[key(form, "encoder", block), 0]["bits_per_parameter"] == pytest.approx(expected)


def test_the_error_is_that_of_all_layers_together(points):
    weights = [linear.weight.data for _, _, linear in layer_linears(tiny_model())]
    whole = torch.cat([w.flatten() for w in weights])
    back = torch.cat([quantise(w, "fp4", 64, double=False).weight.flatten() for w in weights])
    expected = ((back - whole).norm() / whole.norm()).item()
    found = points[key("fp4", "encoder"), 0]
    assert found["relative_error"] == pytest.approx(expected, rel=1e-5)
    nf4 = points[key("nf4", "encoder"), 0]["relative_error"]
    assert found["error_over_nf4"] == pytest.approx(expected / nf4, rel=1e-5)


def test_double_quantisation_is_compared_with_plain_constants(points):
    double, plain = points[key("int8", "encoder", constants="double"), 0], points[key("int8", "encoder"), 0]
    assert double["error_rise"] == pytest.approx(100 * (double["relative_error"] / plain["relative_error"] - 1))
    assert "error_rise" not in plain


def test_divergence_and_perplexity_are_those_of_a_plain_computation(points):
    texts = quantisation_error.Random(0).sample([p.text for p in load("prose")], 2)
    model, changed = tiny_model().eval(), tiny_model().eval()
    for _, _, linear in layer_linears(changed):
        linear.weight.data = quantise(linear.weight.data, "int4", 64, double=False).weight
    divergence = loss = tokens = 0.0
    for text in texts:
        row = torch.tensor([tiny_tokenizer().encode(text)])
        with torch.no_grad():
            p, q = (m(row).logits[0, :-1].double().softmax(-1) for m in (model, changed))
        divergence += (p * (p / q).log()).sum().item()
        loss -= q.gather(1, row[0, 1:, None]).log().sum().item()
        tokens += row.shape[1] - 1
    found = points[key("int4", "language"), 0]
    assert points["part=language", 0]["tokens"] == tokens
    assert found["kl"] == pytest.approx(divergence / tokens, rel=1e-2)  # a small difference of float32 numbers
    assert found["perplexity"] == pytest.approx(math.exp(loss / tokens), rel=1e-5)
    assert found["kl_over_nf4"] == found["kl"] - points[key("nf4", "language"), 0]["kl"]
    original = points["part=language", 0]["perplexity"]
    assert found["perplexity_rise"] == pytest.approx(100 * (found["perplexity"] / original - 1))


def test_embeddings_differ_little_and_by_seed(points):
    close, far = (points[key(form, "encoder"), 0] for form in ("int8", "int4"))
    assert far["smallest_cosine"] <= far["embedding_cosine"] < close["embedding_cosine"] <= 1 + 1e-6
    assert far["embedding_cosine"] != points[key("int4", "encoder"), 1]["embedding_cosine"]


def test_the_weights_come_back():
    model = tiny_model()
    before = [linear.weight.data.clone() for _, _, linear in layer_linears(model)]
    with stored(model, Variant("nf4", 64, "plain")):
        assert not torch.equal(next(layer_linears(model))[2].weight, before[0])
    assert all(
        torch.equal(linear.weight, old) for (_, _, linear), old in zip(layer_linears(model), before, strict=True)
    )


def test_a_resumed_run_computes_what_is_missing(events, points, tmp_path):
    missing = {(key("int8", "language", constants="double"), 1)}
    found = [e for e in events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in found if (e.key, e.seed) not in missing]
    again = finished_points(
        run(quantisation_error, "quantisation-error", PARAMS, tmp_path, seeds=(0, 1), finished=kept)
    )
    assert again == {place: points[place] for place in missing}
