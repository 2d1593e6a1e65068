"""The pages of labs, runs and claims."""

import contextlib
import io
import re
import shlex
from html import unescape

import pytest
from django.utils import timezone

from labs.catalog import all_labs
from labs.declaration import GROUPS
from labs.models import Claim, Run
from labs.services import claims_recompute, run_request
from tests.builders import (
    FORMULA_CHECK,
    add_values,
    make_claim,
    make_follow_up,
    make_measured_claim,
    make_point,
    make_question,
    make_run,
    make_topic,
    with_losses,
)

pytestmark = pytest.mark.django_db

LAB = "/labs/rank-sweep/"
SUBMIT = "/labs/rank-sweep/submit/"


def typed(value: object) -> object:
    """A parameter as the form shows it: lists that are no check boxes as text."""
    is_text = isinstance(value, list) and value != ["constant", "double"]
    return ", ".join(map(str, value)) if is_text else value


REQUEST = run_request(lab_slug="rank-sweep", preset="quick")
QUICK = {name: typed(value) for name, value in REQUEST.params.items()} | {"seeds": "0"}
QUICK_RANKS = f'value="{QUICK["ranks"]}"'


def body(client, address: str, *, language: str = "en", status: int = 200) -> str:
    response = client.get(address, headers={"accept-language": language})
    assert response.status_code == status
    return response.content.decode()


# --- labs -------------------------------------------------------------------------------------------------------------


def test_the_list_names_every_lab(as_charlie):
    html = body(as_charlie, "/labs/")
    assert 'href="/labs/rank-sweep/"' in html
    assert 'href="/labs/merge-check/"' in html


def test_a_lab_shows_what_it_asks_and_a_form_filled_with_the_quick_preset(as_alice):
    html = body(as_alice, LAB)
    assert "Does a larger LoRA rank learn better" in html
    assert QUICK_RANKS in html
    assert '<option value="tiny">tiny</option>' in html
    for preset in ("quick", "standard", "gpu"):
        assert f'href="?preset={preset}#run-it"' in html


def test_a_preset_fills_the_form(as_alice):
    html = body(as_alice, f"{LAB}?preset=standard")
    assert 'value="1, 2, 4, 8, 16, 32, 64"' in html
    assert 'value="0, 1, 2"' in html


def test_an_unknown_preset_falls_back_to_quick(as_alice):
    assert QUICK_RANKS in body(as_alice, f"{LAB}?preset=huge")


def test_a_lab_speaks_chinese(as_alice):
    html = body(as_alice, LAB, language="zh-hans")
    assert "两种缩放规则下的秩扫描" in html
    assert "每个适配器的优化步数。" in html


def test_whoever_is_not_signed_in_is_asked_to(as_charlie):
    assert "Sign in to run it" in body(as_charlie, LAB)
    assert as_charlie.post(SUBMIT, QUICK).url == f"/login/?next={SUBMIT}"
    assert not Run.objects.exists()


def test_an_unknown_lab_is_not_found(as_alice):
    assert as_alice.get("/labs/no-such/").status_code == 404
    assert as_alice.post("/labs/no-such/submit/").status_code == 404


def test_a_lab_shows_its_reference_figures(as_charlie):
    assert "No reference run ships with this lab yet" in body(as_charlie, LAB)
    with_losses(make_run(preset="standard"), 1.0, 1.1, 1.2)
    html = body(as_charlie, LAB)
    assert html.count('<figure class="plot">') == 1
    assert "α = 2r" in html


def test_the_expected_time_is_what_this_site_measured(as_charlie, alice):
    assert "about 2 min" in body(as_charlie, LAB)
    now = timezone.now()
    make_run(alice, started_at=now, finished_at=now + timezone.timedelta(seconds=600))
    html = body(as_charlie, LAB)
    assert "usually 10 min here" in html
    assert "about 24 min" in html  # of the standard preset nothing is known


def test_a_lab_lists_the_claims_that_rest_on_it(as_charlie):
    claim = make_measured_claim(statement_en="The loss falls.")
    make_claim(statement_en="A formula's claim.")
    html = body(as_charlie, LAB)
    assert claim.get_absolute_url() in html
    assert "A formula&#x27;s claim." not in html


# --- submitting -------------------------------------------------------------------------------------------------------


def test_a_submitted_form_queues_a_run_and_leads_to_it(as_alice, alice, bells):
    response = as_alice.post(SUBMIT, QUICK)
    run = Run.objects.get()
    assert response.url == run.get_absolute_url()
    assert (run.owner, run.preset, run.params["ranks"], run.seeds) == (alice, "quick", REQUEST.params["ranks"], [0])
    assert bells == [run.pk]


def test_chinese_commas_are_fine(as_alice, bells):
    as_alice.post(SUBMIT, QUICK | {"ranks": "1，8", "seeds": "0，1"})
    assert (Run.objects.get().params["ranks"], Run.objects.get().seeds) == ([1, 8], [0, 1])


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (
            {"steps": "5000"},
            "steps = &quot;5000&quot;: Input should be less than or equal to 2000; allowed: integer from 1",
        ),
        ({"steps": "thirty"}, "steps = &quot;thirty&quot;: Input should be a valid integer"),
        ({"steps": ""}, "This field is required"),
        ({"ranks": "1, 999"}, "ranks.1 = &quot;999&quot;: Input should be less than or equal to 256"),
        ({"ranks": "8, 8"}, "each value may be named once"),
        ({"scalings": []}, "scalings = []: List should have at least 1 item"),
        ({"scalings": ["triple"]}, "triple is not one of the available choices"),
        ({"model": "gpt-5"}, "gpt-5 is not one of the available choices"),
        ({"seeds": "0, x"}, "allowed: 1 to 10 different whole numbers"),
        ({"seeds": "-1"}, "allowed: 1 to 10 different whole numbers"),
        ({"seeds": "9" * 500}, "allowed: 1 to 10 different whole numbers"),
        ({"seeds": "9" * 5000}, "Ensure this value has at most 500 characters"),
        ({"seeds": "²"}, "allowed: 1 to 10 different whole numbers"),
    ],
)
def test_a_wrong_parameter_is_explained_and_what_was_typed_stays(as_alice, bells, typed, message):
    response = as_alice.post(SUBMIT, QUICK | {"learning_rate": "0.0125"} | typed)
    html = response.content.decode()
    assert response.status_code == 422
    assert message in html
    assert 'value="0.0125"' in html
    name, value = next(iter(typed.items()))
    if isinstance(value, str) and value and name != "model":
        assert f'name="{name}" value="{value}"' in html
    assert not Run.objects.exists()


def test_a_twin_is_offered_first(as_alice, alice, bells):
    twin = make_run(alice)
    response = as_alice.post(SUBMIT, QUICK)
    html = response.content.decode()
    assert response.status_code == 200
    assert "You have asked exactly this before" in html
    assert f'href="{twin.get_absolute_url()}"' in html
    assert 'name="again" value="1"' in html
    assert Run.objects.count() == 1


def test_again_runs_all_the_same(as_alice, alice, bells):
    make_run(alice)
    response = as_alice.post(SUBMIT, QUICK | {"again": "1"})
    assert response.url == Run.objects.first().get_absolute_url()
    assert Run.objects.count() == 2


def test_somebody_elses_answer_is_offered_without_a_name(as_alice, bob, bells):
    run = with_losses(make_run(bob, finished_at=timezone.now()), 1.25)
    response = as_alice.post(SUBMIT, QUICK)
    html = response.content.decode()
    assert (response.status_code, Run.objects.count()) == (200, 1)
    assert "asked and measured here before" in html
    assert "1.25" in html
    assert run.get_absolute_url() not in html
    assert "bob" not in html
    assert as_alice.post(SUBMIT, QUICK | {"again": "1"}).status_code == 302


def test_a_reference_run_that_answers_the_question_is_linked(as_alice, bells):
    run = with_losses(make_run(), 1.25)
    assert f'<a href="{run.get_absolute_url()}">Reference</a>' in as_alice.post(SUBMIT, QUICK).content.decode()


def test_somebody_elses_run_without_an_answer_is_no_twin(as_alice, bob, bells):
    make_run(bob, status=Run.RUNNING)
    make_run(bob, status=Run.FAILED)
    assert as_alice.post(SUBMIT, QUICK).status_code == 302


def test_a_limit_is_explained(as_alice, alice, bells):
    for steps in range(1, 6):
        as_alice.post(SUBMIT, QUICK | {"steps": str(steps)})
    response = as_alice.post(SUBMIT, QUICK)
    assert response.status_code == 429
    assert "Your waiting runs: 5, the limit: 5. There is room again" in response.content.decode()
    assert Run.objects.count() == 5


def test_more_work_than_the_standard_preset_is_refused_to_a_learner(as_alice, as_staff, bells):
    typed = QUICK | {"steps": "2000", "ranks": "1, 2, 4, 8, 16, 32, 64"}
    response = as_alice.post(SUBMIT, typed)
    assert response.status_code == 403
    assert "times the work of the preset “standard”; the limit for one run is 1 times" in response.content.decode()
    assert as_staff.post(SUBMIT, typed).status_code == 302


def test_a_changed_gpu_preset_still_asks_for_a_gpu(as_alice, bells):
    assert 'name="based_on" value="gpu"' in body(as_alice, f"{LAB}?preset=gpu")
    assert "Runs on a GPU" in body(as_alice, f"{LAB}?preset=gpu")
    as_alice.post(SUBMIT, QUICK | {"based_on": "gpu", "steps": "7"})
    as_alice.post(SUBMIT, QUICK | {"based_on": "gpu"})  # which is the quick preset
    as_alice.post(SUBMIT, QUICK | {"based_on": "huge", "steps": "8"})
    runs = Run.objects.order_by("pk").values_list("queue", "needs")
    assert list(runs) == [("gpu", {"gpu": True}), ("cpu", {}), ("cpu", {})]


@pytest.mark.parametrize("address", [SUBMIT, "/runs/1/cancel/"])
def test_what_writes_is_not_read(as_alice, address):
    assert as_alice.get(address).status_code == 405


@pytest.mark.parametrize(
    "address", ["/labs/", LAB, "/runs/", "/runs/1/", "/runs/1/progress/", "/claims/", "/claims/x/"]
)
def test_what_reads_is_not_written(as_alice, address):
    assert as_alice.post(address).status_code == 405


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_waiting_run_says_so_and_asks_for_news(as_alice, alice):
    run = make_run(alice, status=Run.QUEUED)
    html = body(as_alice, run.get_absolute_url())
    assert "Waits: no worker is running. Start one." in html
    assert f'hx-get="/runs/{run.pk}/progress/?seen=0"' in html
    assert 'hx-trigger="every' in html
    assert "Cancel the run" in html


def test_a_waiting_run_tells_why(as_alice, alice):
    run = make_run(alice, status=Run.QUEUED, reason_code="broker-down")
    assert "the broker does not answer" in body(as_alice, run.get_absolute_url())


def test_progress_is_a_fragment_with_the_percentage(as_alice, alice):
    run = make_run(
        alice, status=Run.RUNNING, progress_done=3, progress_total=12, note_code="own", note_args={"en": "rank 8"}
    )
    html = body(as_alice, f"/runs/{run.pk}/progress/")
    assert "<html" not in html
    assert 'value="25"' in html
    assert "rank 8" in html


@pytest.mark.parametrize("status", [Run.SUCCEEDED, Run.FAILED, Run.CANCELLED, Run.TIMED_OUT])
def test_polling_stops_when_a_run_has_ended(as_alice, alice, status):
    run = make_run(alice, status=status)
    html = body(as_alice, f"/runs/{run.pk}/progress/", status=286)
    assert "hx-trigger" not in html
    assert "Run it again" in html


def test_a_finished_run_stands_beside_the_reference(as_alice, alice):
    reference = with_losses(make_run(preset="standard"), 1.0, 1.1, 1.2)
    run = with_losses(make_run(alice), 2.5)
    html = body(as_alice, run.get_absolute_url())
    assert html.count('<figure class="plot">') == 1
    assert "1.10" in html  # the reference's mean at the first point
    assert "2.50" in html
    assert "3 seeds" in html
    assert f'href="{reference.get_absolute_url()}"' in html
    assert "manage.py run_lab rank-sweep --preset quick --json" in html


def test_a_reference_run_shows_its_digest_and_what_it_ran_on(as_charlie):
    run = make_run(evidence_digest="d" * 64, environment={"hardware": {"cpu": "EPYC"}, "versions": {"torch": "2.9"}})
    html = body(as_charlie, run.get_absolute_url())
    assert "d" * 64 in html
    assert "EPYC" in html
    assert "torch 2.9" in html


def test_a_run_of_an_older_lab_is_shown_and_marked(as_alice, alice):
    run = make_run(alice, lab_version=99)
    add_values(run, "renamed_since", "", 1.0)
    add_values(run, "validation_loss", "rank=1,scaling=double", 1.25)
    html = body(as_alice, run.get_absolute_url())
    assert "older: the lab or its model has changed since" in html
    assert "1.25" in html


def test_cancelling_an_ended_run_says_so(as_alice, alice):
    run = make_run(alice)
    response = as_alice.post(f"/runs/{run.pk}/cancel/", follow=True)
    assert "This run has already ended." in response.content.decode()


def test_runs_are_listed_newest_first_and_paged(as_alice, alice):
    runs = [make_run(alice) for _ in range(27)]
    html = body(as_alice, "/runs/")
    assert runs[-1].get_absolute_url() in html
    assert f'href="{runs[0].get_absolute_url()}"' not in html
    assert f'href="{runs[0].get_absolute_url()}"' in body(as_alice, "/runs/?page=2")


def test_the_list_of_runs_needs_a_login(as_charlie):
    assert as_charlie.get("/runs/").url == "/login/?next=/runs/"


# --- claims -----------------------------------------------------------------------------------------------------------


def test_a_claims_page_shows_what_decided_it(as_charlie):
    claim = make_measured_claim(statement_en="Rank 64 ends **below** 1 nat.", note_en="It does.", often_said_en="More!")
    reference = add_values(make_run(preset="standard"), "validation_loss", "rank=64,scaling=double", 0.6, 0.7, 0.8)
    claims_recompute()
    html = body(as_charlie, claim.get_absolute_url())
    assert "Rank 64 ends <strong>below</strong> 1 nat." in html
    assert "0.700 nats" in html
    assert "≤ 1 nats" in html
    assert "reproduced" in html
    assert "More!" in html
    assert f'href="{reference.get_absolute_url()}"' in html
    assert 'href="/labs/rank-sweep/#run-it"' in html


def test_ones_own_run_stands_beside_the_reference_and_decides_nothing(as_alice, alice):
    claim = make_measured_claim()
    add_values(make_run(preset="standard"), "validation_loss", "rank=64,scaling=double", 0.6, 0.7, 0.8)
    own = add_values(make_run(alice), "validation_loss", "rank=64,scaling=double", 3.0, 3.1, 3.2)
    claims_recompute()
    html = body(as_alice, claim.get_absolute_url())
    assert "3.10 nats" in html
    assert own.get_absolute_url() in html
    claim.refresh_from_db()
    assert claim.verdict == Claim.REPRODUCED


def test_a_formula_claim_shows_the_formula(as_charlie):
    claim = make_claim(unit="parameters")
    claims_recompute()
    html = body(as_charlie, claim.get_absolute_url())
    assert "<code>lora_layer_parameters</code>" in html
    assert "256 parameters" in html


def test_a_cited_claim_shows_its_place(as_charlie):
    claim = make_claim(method="citation", source="hu2021", place="Table 6", cited=73.4, unit="%", checks=[])
    claims_recompute()
    html = body(as_charlie, claim.get_absolute_url())
    assert "Table 6" in html
    assert "73.4 %" in html
    assert "chip-cited" in html


def test_a_claim_awaiting_a_run_says_what_to_do(as_charlie):
    claim = make_measured_claim()
    claims_recompute()
    html = body(as_charlie, claim.get_absolute_url())
    assert "No run has measured this yet." in html
    assert "No run yet." in html


def test_a_claims_page_lists_what_rests_on_it(as_charlie):
    claim = make_claim()
    claim.points.add(make_point(title_en="Rank"))
    claim.questions.add(make_question(prompt_en="Why low?"))
    html = body(as_charlie, claim.get_absolute_url())
    assert "Rank" in html
    assert "Why low?" in html


def test_an_unknown_claim_is_not_found(as_charlie):
    assert as_charlie.get("/claims/no-such/").status_code == 404


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("", ["cited", "measured", "sized"]),
        ("verdict=reproduced", ["sized"]),
        ("verdict=awaiting", ["measured"]),
        ("method=citation", ["cited"]),
        ("topic=other", ["cited"]),
        ("verdict=reproduced&method=citation", []),
        ("verdict=no-such", []),
        ("page=99", ["cited", "measured", "sized"]),
    ],
)
def test_the_ledger_filters(as_charlie, query, slugs):
    make_claim(slug="sized")
    make_measured_claim(slug="measured")
    make_claim(slug="cited", method="citation", checks=[], source="hu2021", topic=make_topic("other"))
    claims_recompute()
    page = as_charlie.get(f"/claims/?{query}").context["page"]
    assert sorted(claim.slug for claim in page) == slugs


def test_the_ledger_is_paged(as_charlie):
    for _ in range(51):
        make_claim()
    assert "Page 1 of 2" in body(as_charlie, "/claims/?verdict=awaiting")
    assert len(as_charlie.get("/claims/?page=2").context["page"]) == 1


# --- as many queries for much as for little ---------------------------------------------------------------------------


def add_a_lot(user) -> None:
    hub = Claim.objects.filter(slug="hub").first() or make_measured_claim(slug="hub")
    for n in range(3):
        other = make_claim()
        chip = f"[[claim:{other.slug}]]"
        make_measured_claim(statement_en=chip)
        make_claim(statement_en=chip, topic=make_topic(f"topic-{other.pk}"))
        with_losses(make_run(user, started_at=timezone.now(), finished_at=timezone.now()), 1.0, 1.0 + n)
        hub.points.add(make_point())
        question = make_question(prompt_en=chip)
        hub.questions.add(question, make_follow_up(question, prompt_en=chip))
    claims_recompute()


@pytest.mark.parametrize(
    "address", ["/labs/", LAB, "/runs/", "/claims/", "/claims/?verdict=reproduced", "/claims/hub/"]
)
def test_the_number_of_queries_is_constant(as_alice, alice, django_assert_max_num_queries, address):
    add_a_lot(alice)
    with django_assert_max_num_queries(30) as few:
        as_alice.get(address)
    add_a_lot(alice)
    with django_assert_max_num_queries(len(few)):
        as_alice.get(address)


def test_a_runs_page_needs_as_many_queries_for_many_points(as_alice, alice, django_assert_max_num_queries):
    run = with_losses(make_run(alice), 1.0, 2.0)
    with django_assert_max_num_queries(20) as few:
        as_alice.get(run.get_absolute_url())
    for rank in range(2, 40):
        add_values(run, "validation_loss", f"rank={1000 + rank},scaling=double", 1.0, 2.0)
    with django_assert_max_num_queries(len(few)):
        as_alice.get(run.get_absolute_url())


def test_every_lab_is_listed_once_in_its_group(client):
    html = client.get("/labs/").content.decode()
    sections = html.split("<h2>")[1:]
    assert [section.partition("<")[0] for section in sections] == [title.en for title in GROUPS.values()]
    for group, section in zip(GROUPS, sections, strict=True):
        assert re.findall(r'href="/labs/([^/]+)/"', section) == [
            s for s, lab in all_labs().items() if lab.group == group
        ]


# --- a claim's card, picture and citation -----------------------------------------------------------------------------


def decided_claim() -> Claim:
    with_losses(make_run(preset="standard"), 0.1, 0.2, 0.3)
    make_measured_claim(slug="loss-falls", statement_en="The loss is at most *one*.")
    claims_recompute()
    return Claim.objects.get()


def test_a_card_says_what_was_found_how_often_when_and_on_what(as_charlie):
    claim = decided_claim()
    html = body(as_charlie, f"{claim.get_absolute_url()}card/")
    assert "The loss is at most <em>one</em>." in html
    assert "reproduced" in html
    assert "3 seeds" in html
    assert timezone.now().date().isoformat() in html
    assert "<html" not in html


def test_a_card_speaks_chinese_and_is_nobodys_secret(as_charlie):
    html = body(as_charlie, f"{decided_claim().get_absolute_url()}card/", language="zh-hans")
    assert "3 个种子" in html


def test_the_card_of_no_claim_is_not_found(as_charlie):
    assert as_charlie.get("/claims/no-such/card/").status_code == 404


def test_the_claimed_value_is_drawn_into_the_picture(as_charlie):
    html = body(as_charlie, decided_claim().get_absolute_url())
    assert html.count('<figure class="plot">') == 1
    assert "claimed: 1" in html


def test_a_claim_can_be_cited(as_charlie):
    claim = make_claim(slug="count", statement_en="About 5 % of W_0 {sic}.")
    claims_recompute()
    html = body(as_charlie, claim.get_absolute_url())
    assert "@misc{proofdeck-count," in html
    assert r"title = {{About 5 \% of W\_0 \{sic\}.}}" in html
    assert r"howpublished = {\url{http://testserver/claims/count/}}" in html
    assert "[About 5 % of W_0 {sic}.](http://testserver/claims/count/) (reproduced, " in html


def test_a_formula_is_repeated_by_one_command(as_charlie):
    html = body(as_charlie, make_claim().get_absolute_url())
    command = re.search(r"<code>(\.venv/bin/python -c .*?)</code>", html)
    assert command
    code = shlex.split(unescape(command[1]))[-1]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})  # noqa: S102 - what the page tells the reader to run
    assert printed.getvalue() == "256\n"


def test_a_measurement_is_repeated_by_its_lab(as_charlie):
    html = body(as_charlie, make_measured_claim().get_absolute_url())
    assert "manage.py run_lab rank-sweep --preset standard --json" in html


def test_the_ledger_counts_by_verdict_and_chooses_by_topic(as_charlie):
    other = make_topic("memory")
    make_claim(statement_en="Kept.", topic=other)
    make_claim(statement_en="Wrong.", note_en="It is *256*.", checks=[FORMULA_CHECK | {"expected": 1.0}])
    claims_recompute()
    html = body(as_charlie, "/claims/")
    assert "reproduced (1)" in html
    assert "refuted (1)" in html
    assert "It is <em>256</em>." in html
    chosen = body(as_charlie, "/claims/?topic=memory")
    assert "Kept." in chosen
    assert "Wrong." not in chosen
    assert '<option value="memory" selected>' in chosen.replace("\n                  ", " ")
