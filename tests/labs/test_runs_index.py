"""The index of runs, and runs beside each other."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from labs.models import MetricValue, Run
from tests.builders import add_values, make_run, with_losses

pytestmark = pytest.mark.django_db

POINT = "rank=8,scaling=double"


def listed(client, query: str = "") -> list[int]:
    return [run.pk for run in client.get(f"/runs/?{query}").context["page"]]


def compared(client, *runs: Run) -> str:
    response = client.get("/runs/compare/", {"run": [run.pk for run in runs]})
    assert response.status_code == 200
    return response.content.decode()


def refused(client, *ids: object) -> str:
    response = client.get("/runs/compare/", {"run": ids}, follow=True)
    assert response.redirect_chain == [("/runs/", 302)]
    return response.content.decode()


# --- index ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lab=merge-check", ["merge"]),
        ("status=failed", ["failed"]),
        ("preset=standard", ["reference"]),
        ("preset=own", ["failed"]),
        ("origin=mine", ["merge", "failed"]),
        ("origin=reference", ["reference"]),
        ("origin=mine&status=succeeded", ["merge"]),
        ("lab=no-such&status=lost&preset=huge&origin=hers&order=best", ["merge", "failed", "reference"]),
        ("order=oldest", ["reference", "failed", "merge"]),
        ("order=lab", ["merge", "failed", "reference"]),
        ("order=longest", ["failed", "merge", "reference"]),
        ("order=shortest", ["merge", "failed", "reference"]),
    ],
)
def test_runs_are_filtered_and_ordered(as_alice, alice, bob, query, expected):
    now = timezone.now()

    def took(seconds: int) -> dict:
        return {"started_at": now, "finished_at": now + timedelta(seconds=seconds)}

    runs = {
        "reference": make_run(preset="standard"),
        "failed": make_run(alice, status=Run.FAILED, **took(60)),
        "merge": make_run(alice, lab="merge-check", **took(10)),
    }
    Run.objects.filter(pk=runs["failed"].pk).update(preset="")
    make_run(bob)
    assert listed(as_alice, query) == [runs[name].pk for name in expected]


def test_pages_keep_the_choice(as_alice, alice):
    for _ in range(26):
        make_run(alice)
    html = as_alice.get("/runs/?origin=mine&order=oldest").content.decode()
    assert "?origin=mine&amp;order=oldest&amp;page=2" in html


# --- comparison -------------------------------------------------------------------------------------------------------


def test_charts_are_overlaid_with_a_line_a_run(as_alice, alice):
    reference, own = with_losses(make_run(preset="standard"), 1.0, 1.1), with_losses(make_run(alice), 2.5)
    html = compared(as_alice, reference, own)
    assert html.count('<figure class="plot">') == 2  # one each scaling rule
    assert "Validation loss against rank · α = 2r" in html
    assert re.search(r"</svg>Reference \(Standard\)</li>.*</svg>Run \d+</li>", html)


def test_curves_are_overlaid(as_alice, alice):
    runs = [make_run(alice), make_run(alice)]
    for run in runs:
        MetricValue.objects.bulk_create(
            MetricValue(run=run, name="loss", point=POINT, step=step, value=step) for step in range(3)
        )
    html = compared(as_alice, *runs)
    assert all(f"Run {run.pk} · rank r = 8 · α = 2r" in html for run in runs)


def with_tradeoff(client, x: str, y: str, *runs: Run) -> str:
    response = client.get("/runs/compare/", {"run": [run.pk for run in runs], "x": x, "y": y})
    assert response.status_code == 200
    return response.content.decode()


def test_any_two_results_are_drawn_against_each_other(as_alice, alice):
    runs = [with_losses(make_run(alice), 1.0, 1.2), with_losses(make_run(alice), 2.0)]
    for run in runs:
        for rank in (1, 8, 64):
            add_values(run, "trainable_parameters", f"rank={rank},scaling=double", 1000 * rank)
    html = with_tradeoff(as_alice, "trainable_parameters", "validation_loss", *runs)
    assert "(trained facts, held-out phrasing) against Trainable parameters" in html
    assert html.count('class="front"') == 3  # a run each, and the legend
    assert f"Run {runs[1].pk} · rank r = 8 · α = 2r" in html
    assert '<option value="validation_loss" selected>' in html


@pytest.mark.parametrize(("x", "y"), [("", ""), ("no_such", "validation_loss"), ("validation_loss", "unseen_loss")])
def test_without_two_results_of_a_point_there_is_nothing_to_draw(as_alice, alice, x, y):
    first, second = with_losses(make_run(alice), 1.0), add_values(make_run(alice), "unseen_loss", "rank=1", 2.0)
    html = with_tradeoff(as_alice, x, y, first, second)
    assert "Two results against each other" in html
    assert ("No point of these runs has both results." in html) == (y == "unseen_loss")


def test_runs_without_results_offer_nothing_to_draw(as_alice, alice):
    assert "Two results against each other" not in compared(as_alice, make_run(alice), make_run(alice))


def test_what_differs_in_the_parameters_comes_first(as_alice, alice):
    first = make_run(alice)
    second = make_run(alice, params=first.params | {"steps": 7}, seeds=[3])
    html = compared(as_alice, first, second)
    names = re.findall(r'<th scope="row"><code>(\w+)</code>', html)
    assert names[:2] == ["steps", "seeds"]
    assert re.findall(r"<strong>(.*?)</strong>", html) == ["24", "7", "0", "3"]


def test_results_say_how_far_they_are_from_the_first_run(as_alice, alice):
    first = add_values(make_run(alice), "validation_loss", POINT, 2.0)
    second = add_values(make_run(alice), "validation_loss", POINT, 1.5)
    third = add_values(make_run(alice), "unseen_loss", POINT, 3.0)
    html = " ".join(compared(as_alice, first, second, third).split())
    assert "−0.500 (−25 %)" in html
    assert html.count(" %)") == 1


def test_two_to_four_runs_of_one_lab_are_compared(as_alice, alice, bob):
    own, other_lab, hers = make_run(alice), make_run(alice, lab="merge-check"), make_run(bob)
    assert "Choose two to four runs." in refused(as_alice)
    assert "Choose two to four runs." in refused(as_alice, own.pk, own.pk)
    assert "Choose two to four runs." in refused(as_alice, own.pk, hers.pk)
    assert "Choose two to four runs." in refused(as_alice, own.pk, "x", "9" * 30, "²")
    assert "Choose two to four runs." in refused(as_alice, *(make_run(alice).pk for _ in range(5)))
    assert "Only runs of the same lab" in refused(as_alice, own.pk, other_lab.pk)


def test_comparing_needs_a_login(as_charlie):
    assert as_charlie.get("/runs/compare/?run=1&run=2").url == "/login/?next=/runs/compare/%3Frun%3D1%26run%3D2"
