"""Counted bits against the closed forms, tensor by tensor."""

import pytest
import torch

from labs.catalog.quantisation_bits import QuantisationBitsParameters
from labs.formulas.memory import block_quantised_size
from tests.worker.running import finished_points, run
from worker.experiments import quantisation_bits
from worker.experiments.quantisation_bits import counted, stored_tensors
from worker.protocol import FinishedPoint, PointEvent

PARAMS = QuantisationBitsParameters(model="tiny", encoder="tiny", rows=192, columns=256)
TINY = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(quantisation_bits, "quantisation-bits", PARAMS, tmp_path_factory.mktemp("bits"), seeds=(0, 1))


@pytest.fixture(scope="module")
def points(events):
    return finished_points(events)


@pytest.mark.parametrize("form", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("shape", [(64, 64), (192, 256), (100, 192)])
def test_four_bits_are_counted_as_the_closed_form_says(form, double, shape):
    storage = f"{form}-double" if double else form
    sizes = counted([torch.randn(shape)], storage)
    assert sum(sizes.values()) == block_quantised_size(*shape, double)
    assert sizes["codes"] == shape[0] * shape[1] / 2
    assert sizes["tables"] == 4 * (16 + (256 if double else 0))


def test_eight_bits_have_a_constant_a_row():
    assert counted([torch.randn(100, 192)], "int8") == {"codes": 100 * 192, "constants": 4 * 100, "tables": 0}


def test_double_quantisation_stores_constants_in_bytes():
    constants = stored_tensors(torch.randn(64, 64), "nf4-double")["constants"]
    assert [(tensor.dtype, tensor.numel()) for tensor in constants] == [
        (torch.uint8, 64),
        (torch.float32, 1),
        (torch.float32, 1),
    ]


def test_a_shared_table_counts_once():
    matrices = [torch.randn(64, 64), torch.randn(64, 64)]
    tables = [stored_tensors(matrix, "nf4")["tables"][0] for matrix in matrices]
    expected = 64 * len({table.data_ptr() for table in tables})
    assert counted(matrices, "nf4")["tables"] == expected


def test_every_part_is_counted(points):
    assert points["part=layer,storage=nf4", 0]["weights_counted"] == 192 * 256
    assert points["part=language,storage=nf4", 0]["weights_counted"] == TINY
    assert points["part=layer,storage=nf4", 0]["formula_bits"] == 4.5
    # rows of 32 are in blocks of 32; only the two down projections have rows of 64
    assert points["part=language,storage=nf4", 0]["formula_bits"] == pytest.approx(5 - 0.5 * 2 * 32 * 64 / TINY)
    assert points["part=layer,storage=int8", 0]["bits_per_parameter"] == 8 + 32 / 256
    assert points["part=layer,storage=int8", 0]["excess_bits"] == 32 / 256


def test_kinds_add_up(points):
    for storage in ("nf4", "nf4-double", "fp4", "fp4-double", "int8"):
        parts = [points[f"part=layer,storage={storage},tensor={kind}", 0] for kind in ("codes", "constants", "tables")]
        total = points[f"part=layer,storage={storage}", 0]["bits_per_parameter"]
        assert sum(part["tensor_bits"] for part in parts) == pytest.approx(total)


def test_nothing_depends_on_the_seed(points):
    first = {key: value for (key, seed), value in points.items() if seed == 0}
    second = {key: value for (key, seed), value in points.items() if seed == 1}
    assert first == second


def test_a_resumed_run_computes_what_is_missing(events, points, tmp_path):
    missing = {("part=layer,storage=int8", 1)}
    found = [e for e in events if isinstance(e, PointEvent)]
    kept = [FinishedPoint(key=e.key, seed=e.seed, metrics=e.metrics) for e in found if (e.key, e.seed) not in missing]
    again = run(quantisation_bits, "quantisation-bits", PARAMS, tmp_path, seeds=(0, 1), finished=kept)
    assert finished_points(again) == {place: points[place] for place in missing}
