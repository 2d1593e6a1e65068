"""The page of a run while it trains."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from labs.curves import POINTS, curve_figures
from labs.models import MetricValue, Run, RunPart
from tests.builders import add_values, make_run, with_losses

pytestmark = pytest.mark.django_db

RANK_1, RANK_64 = "rank=1,scaling=double", "rank=64,scaling=double"
TRAINING = {"step": 6, "steps": 24, "loss": 2.345, "tokens_per_second": 321.0}


def running(owner, **values) -> Run:
    return make_run(owner, **{"status": Run.RUNNING, "progress_done": 1, "progress_total": 4, **values})


def page(client, run: Run, *, language: str = "en") -> str:
    return client.get(run.get_absolute_url(), headers={"accept-language": language}).content.decode()


def news(client, run: Run, seen: int = 0) -> str:
    return client.get(f"/runs/{run.pk}/progress/?seen={seen}").content.decode()


def gauges(html: str) -> dict[str, str]:
    found = re.findall(r"<dt>(.*?)</dt>\s*<dd>(.*?)</dd>", html.partition('class="gauges"')[2], re.DOTALL)
    return {name: " ".join(re.sub("<.*?>", "", value).split()) for name, value in found}


def add_curve(run: Run, point: str = RANK_1, *, seed: int = 0, steps: int = 5, name: str = "loss") -> None:
    values = {"run": run, "name": name, "point": point, "seed": seed}
    MetricValue.objects.bulk_create(MetricValue(**values, step=n, value=3 - n / steps) for n in range(steps))


# --- state ------------------------------------------------------------------------------------------------------------


def test_a_training_shows_how_far_it_is(as_alice, alice):
    now = timezone.now()
    run = running(
        alice,
        training=TRAINING,
        progress_within=0.25,
        progress_since=now - timedelta(seconds=100),
        progress_at=now,
        memory_mb=700,
        peak_memory_mb=2048,
    )
    assert gauges(page(as_alice, run)) == {
        "Time left": "about 4 min",
        "Memory": "700 MB (peak 2.0 GB)",
        "Step": "6 of 24",
        "Loss": "2.35",
        "Tokens per second": "321",
    }
    assert 'value="31"' in news(as_alice, run)
    chinese = gauges(page(as_alice, run, language="zh-hans"))
    assert chinese["剩余时间"] == "大约 4 分钟"
    assert chinese["步数"] == "第 6 步，共 24 步"


def test_what_is_not_known_is_not_made_up(as_alice, alice):
    assert gauges(page(as_alice, running(alice))) == {"Time left": "—", "Memory": "—"}


def test_a_second_attempt_says_so(as_alice, alice):
    assert "attempt 2" in page(as_alice, running(alice, attempt=2))
    assert "attempt" not in page(as_alice, running(alice, attempt=1))


def test_a_cancellation_is_seen_at_once(as_alice, alice):
    run = running(alice)
    assert 'id="cancel-run"' in page(as_alice, run)
    html = as_alice.post(f"/runs/{run.pk}/cancel/", follow=True).content.decode()
    assert "You asked to cancel it" in html
    assert "stopping" in html
    assert 'id="cancel-run"' not in html


def test_staff_may_cancel_and_read_the_log(as_staff, alice):
    html = page(as_staff, running(alice, log_tail="loading weights"))
    assert 'id="cancel-run"' in html
    assert "loading weights" in html


def test_the_log_is_bounded_and_follows(as_alice, alice):
    run = running(alice, log_tail="\n".join(f"line {n}" for n in range(200)))
    for html in (page(as_alice, run), news(as_alice, run)):
        assert "line 199" in html
        assert "line 170" in html
        assert "line 169" not in html


def test_the_place_of_the_log_is_there_before_its_first_line(as_alice, alice):
    for run in (make_run(alice, status=Run.QUEUED), running(alice)):
        assert '<pre id="log-tail" tabindex="0"></pre>' in page(as_alice, run)
        assert "log-tail" not in news(as_alice, run)


def test_a_log_is_escaped(as_alice, alice):
    assert "<script>x" not in news(as_alice, running(alice, log_tail="<script>x</script>"))


def test_the_peak_stays_when_it_has_ended(as_alice, alice):
    assert "1.5 GB" in page(as_alice, make_run(alice, peak_memory_mb=1536))


def test_parts_under_way_are_listed(as_alice, as_staff, alice):
    run = running(alice)
    RunPart.objects.create(run=run, key=RANK_64, seed=2, status=Run.RUNNING, training=TRAINING, worker="w@host")
    RunPart.objects.create(run=run, key=RANK_1, seed=2)
    html = " ".join(news(as_alice, run).split())
    assert "rank r = 64 · α = 2r · seed 2 · Step 6 of 24" in html
    assert "rank r = 1" not in html
    assert "w@host" not in html
    assert "w@host" in news(as_staff, run)


# --- polling ----------------------------------------------------------------------------------------------------------


def test_numbers_come_only_when_there_are_others(as_alice, alice):
    run = add_values(running(alice, finished_points=[[RANK_1, 0]]), "validation_loss", RANK_1, 1.5)
    assert 'id="numbers"' not in news(as_alice, run, seen=1)
    html = news(as_alice, run, seen=0)
    assert '<div id="numbers" hx-swap-oob="true">' in html
    assert "1.50" in html
    assert f'hx-get="/runs/{run.pk}/progress/?seen=1"' in html


def test_the_end_brings_numbers_and_facts(as_alice, alice):
    run = with_losses(make_run(alice, finished_points=[[RANK_1, 0]]), 1.5)
    response = as_alice.get(f"/runs/{run.pk}/progress/?seen=1")
    html = response.content.decode()
    assert response.status_code == 286
    assert "How it was made" in html
    assert "hx-get" not in html


@pytest.mark.parametrize("status", [Run.QUEUED, Run.RUNNING])
def test_a_poll_is_cheap_however_large_the_run(as_alice, alice, status, django_assert_max_num_queries):
    run = running(alice, status=status, finished_points=[[RANK_1, 0]])
    for seed in range(12):
        add_curve(run, seed=seed)
        RunPart.objects.create(run=run, key=RANK_1, seed=seed, status=Run.RUNNING)
    with django_assert_max_num_queries(6):
        news(as_alice, run, seen=1)


# --- curves -----------------------------------------------------------------------------------------------------------


def drawn(run: Run) -> list[str]:
    return [str(figure) for figure in curve_figures(run.lab, [run])]


def test_a_curve_is_drawn_while_it_grows(as_alice, alice):
    run = running(alice)
    assert "Step by step" not in news(as_alice, run)
    add_curve(run)
    html = news(as_alice, run)
    assert "Step by step" in html
    assert "Training loss" in html
    assert html.count('class="mark"') == 5


def test_a_long_curve_is_thinned_out_and_keeps_both_ends(alice):
    run = running(alice)
    add_curve(run, steps=2000)
    [figure] = drawn(run)
    path = re.search(r'd="(M[^"]*L[^"]*)" class="line"', figure)[1]
    assert POINTS / 2 < path.count("L") + 1 <= POINTS
    assert "3 at 0, 2 at 1999" in figure
    assert figure.count('class="mark"') == 1


@pytest.mark.parametrize("steps", [1, 198, 199, 200, 201, 399])
def test_no_curve_has_too_many_points(alice, steps):
    run = running(alice)
    add_curve(run, steps=steps)
    [figure] = drawn(run)
    assert figure.count("L") - figure.count("Loss") <= POINTS


def test_the_newest_curves_are_shown(alice):
    run = running(alice)
    for seed in range(8):
        add_curve(run, seed=seed)
    [figure] = drawn(run)
    assert [n for n in range(8) if f"seed {n}" in figure] == [2, 3, 4, 5, 6, 7]


def test_curves_are_told_apart_by_their_points(alice):
    run = running(alice)
    add_curve(run, RANK_1)
    add_curve(run, RANK_64)
    [figure] = drawn(run)
    assert "rank r = 1 · α = 2r" in figure
    assert "rank r = 64 · α = 2r" in figure
    assert "seed" not in figure


def test_a_metric_that_the_lab_no_longer_has_is_left_out(alice):
    run = running(alice)
    add_curve(run, name="renamed_since")
    assert drawn(run) == []
