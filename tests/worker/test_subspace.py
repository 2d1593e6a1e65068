"""The subspace lab: decompositions against dense ones, similarities and norms against what algebra says."""

import pytest
import torch

from labs.catalog.subspace import SubspaceParameters
from tests.worker.running import finished_points, run
from worker.experiments import subspace
from worker.experiments.subspace import decompose, make_update, projected_norm, random_directions, similarity, sizes

PARAMS = SubspaceParameters(model="tiny", small_rank=2, large_rank=4, steps=2, learning_rate=1e-2)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    return run(subspace, "subspace", PARAMS, tmp_path_factory.mktemp("subspace"))


@pytest.fixture(scope="module")
def points(events):
    return {key: values for (key, _), values in finished_points(events).items()}


def test_the_decomposition_is_that_of_the_product():
    b, a = normal(12, 3), normal(3, 20, seed=1)
    found = decompose(b, a)
    torch.testing.assert_close(found.left @ torch.diag(found.values) @ found.right.T, b @ a)
    torch.testing.assert_close(found.values, torch.linalg.svdvals(b @ a)[:3])
    torch.testing.assert_close(found.left.T @ found.left, torch.eye(3, dtype=torch.float64))


def test_of_a_has_the_right_singular_vectors_of_a():
    a = normal(3, 20)
    found = make_update(a, normal(12, 3), 2.0, normal(12, 20)).of_a
    assert similarity(found, torch.linalg.svd(a).Vh[:1].T, 1, 1) == pytest.approx(1)


def test_similarity_of_known_subspaces():
    axes = torch.eye(10, dtype=torch.float64)
    assert similarity(axes[:, :4], axes[:, :8], 4, 8) == 1  # one holds the other
    assert similarity(axes[:, :4], axes[:, 4:], 4, 4) == 0
    assert similarity(axes[:, :4], axes[:, 2:], 4, 4) == 0.5  # two of four shared


def test_random_subspaces_share_max_over_d():
    generator = torch.Generator().manual_seed(0)
    pairs = [(random_directions(100, 4, generator), random_directions(100, 20, generator)) for _ in range(200)]
    for i, j in ((1, 1), (4, 4), (4, 20)):
        mean = sum(similarity(u, v, i, j) for u, v in pairs) / len(pairs)
        assert mean == pytest.approx(max(i, j) / 100, rel=0.2)


def test_amplification_of_a_known_update():
    """W = diag(1, 2, …, 10); an update of norm 6 along its third axis: W has 3 there, so the factor is 2."""
    weight = torch.diag(torch.arange(1.0, 11.0, dtype=torch.float64))
    axis = torch.eye(10, dtype=torch.float64)[2]
    update = make_update(axis[None, :], axis[:, None], 6.0, weight)
    projected = projected_norm(weight, update.directions.left, update.directions.right)
    assert projected == pytest.approx(3)
    assert update.directions.values.item() / projected == pytest.approx(2)


def test_sizes_reach_both_ranks():
    assert list(sizes(3, 6)) == [(i, j) for i in (1, 2, 3) for j in (1, 2, 4, 6)]


def test_points_of_a_run(points):
    for matrix in ("update", "A"):
        values = [points[f"comparison=seeds,i=4,j={j},matrix={matrix}"]["similarity"] for j in (1, 2, 4)]
        assert all(0 < value <= 1 for value in values)
    for rank in (2, 4):
        own = points[f"directions=weight,rank={rank}"]["projected_norm"]
        assert own >= points[f"directions=update,rank={rank}"]["projected_norm"]
        assert own <= points[f"rank={rank}"]["weight_norm"]
    assert points[""] == {"diverged": 0}


def test_it_resumes(events, points, tmp_path):
    done = [event for event in events if getattr(event, "key", None) in points and hasattr(event, "metrics")]
    assert finished_points(run(subspace, "subspace", PARAMS, tmp_path, finished=done)) == {}
    again = finished_points(
        run(subspace, "subspace", PARAMS, tmp_path, finished=[e for e in done if "rank=2" in e.key])
    )
    assert {key: values for (key, _), values in again.items()} == {
        key: pytest.approx(values, rel=1e-3) for key, values in points.items() if "rank=2" not in key
    }


def test_divergence_is_an_outcome(tmp_path):
    params = PARAMS.model_copy(update={"steps": 8, "learning_rate": 1e6})
    (values,) = finished_points(run(subspace, "subspace", params, tmp_path)).values()
    assert values == {"diverged": 1}
