"""Linear algebra formulas against hand arithmetic and PyTorch."""

import pytest
import torch

from labs.formulas import matrices as formulas


def test_shapes_for_questions():
    assert formulas.layer_inputs("llama-3-8b", "down_proj") == 14336
    assert formulas.layer_outputs("llama-3-8b", "v_proj") == 1024  # 8 KV heads of 128
    assert formulas.quotient(1, 4) == 0.25


def test_ranks():
    assert formulas.break_even_rank(4096, 4096) == 2048
    assert formulas.sum_rank_bound(8, 8, 16, 4096, 4096) == 32
    assert formulas.sum_rank_bound(32, 32, 32, 4096, 64) == 64


def test_degrees_of_freedom_are_the_rank_of_the_jacobian():
    torch.manual_seed(0)
    rank, d_in, d_out = 2, 5, 4
    a, b = torch.randn(rank, d_in, dtype=torch.float64), torch.randn(d_out, rank, dtype=torch.float64)

    def product(flat: torch.Tensor) -> torch.Tensor:
        return (flat[rank * d_in :].view(d_out, rank) @ flat[: rank * d_in].view(rank, d_in)).flatten()

    jacobian = torch.autograd.functional.jacobian(product, torch.cat([a.flatten(), b.flatten()]))
    assert torch.linalg.matrix_rank(jacobian) == formulas.low_rank_dimensions(d_in, d_out, rank) == 14


def test_gauge_share():
    assert formulas.gauge_share_percent(4096, 4096, 8) == pytest.approx(100 * 64 / 65536)


def test_frozen_a():
    # Llama-2-7B, q and v: 32 blocks, two layers of 4,096 outputs
    assert formulas.frozen_a_parameters("llama-2-7b", "q_proj,v_proj", 8) == 32 * 2 * 8 * 4096
    assert formulas.frozen_a_share_percent("llama-2-7b", "q_proj,v_proj", 8) == 50
    # grouped-query attention makes v narrow: 8 (4096 + 1024) of 8 (8192 + 5120)
    assert formulas.frozen_a_share_percent("llama-3-8b", "q_proj,v_proj", 8) == pytest.approx(38.4615, abs=1e-4)


def test_order_of_multiplication():
    assert formulas.bypass_multiplications(4096, 4096, 8) == 65_536
    assert formulas.product_first_multiplications(4096, 4096, 8) == 150_994_944
    assert formulas.product_first_ratio(4096, 4096, 8) == 2304
    assert formulas.product_first_ratio(4096, 4096, 8, tokens=2048) == pytest.approx(257)


def test_singular_values_agree_with_pytorch():
    matrix = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix)
    text = ",".join(str(float(value)) for value in values)
    best = left[:, :1] * values[0] @ right[:1]
    error = 100 * torch.linalg.norm(matrix - best) / torch.linalg.norm(matrix)
    assert formulas.truncation_error_percent(text, 1) == pytest.approx(float(error))
    assert formulas.stable_rank(text) == pytest.approx(float((torch.linalg.norm(matrix) / values[0]) ** 2))


def test_energy_and_effective_rank():
    assert formulas.kept_energy_percent("4,2,2,1", 1) == 64
    assert formulas.truncation_error_percent("4,2,2,1", 1) == 60
    assert formulas.effective_rank("4,2,2,1", 80) == 2
    assert formulas.effective_rank("1,4,2,2", 100) == 4
    assert formulas.stable_rank("2,2,2") == 3
    with pytest.raises(ValueError, match="at most 100"):
        formulas.effective_rank("4,2", 101)


def test_truncated_storage():
    assert formulas.truncated_storage_percent(1000, 1000, 50) == pytest.approx(10.005)


def test_projections():
    assert formulas.projection_share_percent(200, 355e6) == pytest.approx(5.634e-5, rel=1e-3)
    assert formulas.amplification_factor(6.91, 0.32) == pytest.approx(21.59, abs=0.01)


def test_random_projection_norm_agrees_with_a_draw():
    torch.manual_seed(0)
    weight = torch.randn(60, 40, dtype=torch.float64)
    norms = []
    for _ in range(300):
        left, _ = torch.linalg.qr(torch.randn(60, 4, dtype=torch.float64))
        right, _ = torch.linalg.qr(torch.randn(40, 4, dtype=torch.float64))
        norms.append(torch.linalg.norm(left.T @ weight @ right) ** 2)
    found = torch.stack(norms).mean().sqrt()
    expected = formulas.random_projection_norm(float(torch.linalg.norm(weight)), 4, 40, 60)
    assert float(found) == pytest.approx(expected, rel=0.05)


def test_a_layer_that_nobody_froze_trains_all_of_its_numbers():
    layer = torch.nn.Linear(96, 64)
    a, b = torch.nn.Linear(96, 4, bias=False), torch.nn.Linear(4, 64, bias=False)
    trained = sum(parameter.numel() for module in (layer, a, b) for parameter in module.parameters())
    assert formulas.unfrozen_layer_parameters(96, 64, 4) == trained


def test_a_trained_a_stores_the_input_that_full_fine_tuning_stores():
    assert formulas.stored_input_share(4096, 16) == pytest.approx(4112 / 4096)
    assert formulas.stored_input_share(4096, 16, trains_a=False) == pytest.approx(16 / 4096)
