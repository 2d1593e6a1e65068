"""The NF4 lab: its table against the paper's numbers, its codes against a search for the nearest level."""

import pytest
import torch

from labs.catalog.nf4_codebook import Nf4CodebookParameters
from labs.formulas.quantisation import NF4_LEVELS, nf4_level
from tests.worker.running import finished_points, run
from worker.experiments import nf4_codebook
from worker.experiments.nf4_codebook import even_codes, nf4_codes, quantile_table

PARAMS = Nf4CodebookParameters(model="tiny", normal_blocks=1000)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return finished_points(run(nf4_codebook, "nf4-codebook", PARAMS, tmp_path_factory.mktemp("nf4"), seeds=(0, 1)))


def test_quantiles_give_the_table_of_the_paper():
    assert quantile_table().tolist() == pytest.approx(NF4_LEVELS, abs=1e-6)


def test_a_code_is_the_nearest_level():
    weights = torch.randn(4, 64, generator=torch.Generator().manual_seed(7))
    counted = torch.bincount(nf4_codes(weights, PARAMS).long(), minlength=16)
    levels = [nf4_level(w, row.abs().max().item()) for row in weights for w in row.tolist()]
    assert counted.tolist() == [levels.count(level) for level in NF4_LEVELS]


def test_the_even_grid_rounds_to_sevenths():
    weights = torch.tensor([7.0, -7.0, 0.4, 0.6, -3.4, *[0.0] * 11])
    codes = even_codes(weights, PARAMS.model_copy(update={"block_size": 16}))
    assert codes.tolist() == [14, 0, 7, 8, 4, *[7] * 11]


def test_every_weight_of_the_linear_layers_is_counted_once(points):
    all_linear = 2 * (32 * 32 + 32 * 16 + 32 * 16 + 32 * 32 + 3 * 32 * 64)
    assert points["source=weights", 0]["weights_counted"] == all_linear
    for source in ("weights", "normal", "uniform"):
        shares = [points[f"code={code},source={source}", 0]["share"] for code in range(16)]
        assert sum(shares) == pytest.approx(100)


def test_only_random_numbers_differ_between_seeds(points):
    assert points["source=weights", 0] == points["source=weights", 1]
    assert points["source=normal", 0] != points["source=normal", 1]


def test_normal_numbers_leave_the_ends_rare(points):
    normal = points["source=normal", 0]
    assert normal["rarest_share"] < 2.5
    assert normal["commonest_share"] > 8
    assert 3.8 < normal["entropy"] < 4.0
