"""Shipped evidence becomes reference runs; an edited record is refused, and verdicts follow what is there."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb.services import ContentRefused, content_import
from labs.catalog import get_lab
from labs.models import Claim, Run
from labs.records import EvidenceError, MetricRecord, RunRecord, seal, summarise, to_json
from labs.schema import CheckSource
from labs.services import claims_recompute, evidence_import, finding_from_reference, run_request
from tests.builders import COUNT_CHECK, LOSS_CHECK, add_values, make_claim, make_measured_claim, make_run
from tests.content_tree import edited, text, write

pytestmark = pytest.mark.django_db
POINT = "rank=64,scaling=double"
NAME = "evidence/rank-sweep-standard.json"


def record(losses: tuple[float, ...] = (0.6, 0.7, 0.8), *, preset: str = "standard") -> RunRecord:
    request = run_request(lab_slug="rank-sweep", preset=preset)
    metrics = [
        MetricRecord(name="validation_loss", unit="nats per answer token", point=POINT, seed=seed, value=loss)
        for seed, loss in enumerate(losses)
    ]
    return seal(
        RunRecord(
            lab="rank-sweep",
            lab_version=request.lab.version,
            params=request.params,
            preset=preset,
            seeds=list(range(len(losses))),
            metrics=metrics,
            summary=summarise(request.lab, metrics),
            environment={"versions": {"torch": "2.0"}},
            durations={"total": 12.5},
            artifacts=[],
            created=datetime(2026, 1, 2, tzinfo=UTC).isoformat(),
            command="manage.py run_lab rank-sweep",
        )
    )


def ship(folder: Path, name: str = NAME, **of_record) -> Path:
    write(folder, name, to_json(record(**of_record)))
    return folder / name


def test_a_record_becomes_a_reference_run_that_everybody_sees(tree):
    ship(tree)
    assert evidence_import(tree) == 1
    run = Run.objects.get()
    assert (run.origin, run.owner, run.status, run.preset) == (Run.REFERENCE, None, Run.SUCCEEDED, "standard")
    assert (run.durations, run.environment) == ({"total": 12.5}, {"versions": {"torch": "2.0"}})
    assert run.created_at == datetime(2026, 1, 2, tzinfo=UTC)
    assert [(v.point, v.seed, v.value) for v in run.values.all()] == [(POINT, 0, 0.6), (POINT, 1, 0.7), (POINT, 2, 0.8)]


def test_the_same_record_keeps_the_same_row(tree):
    ship(tree)
    evidence_import(tree)
    before = Run.objects.get()
    evidence_import(tree)
    assert Run.objects.get() == before


def test_a_new_record_replaces_the_old_one(tree):
    ship(tree)
    evidence_import(tree)
    ship(tree, losses=(2.0, 2.1))
    evidence_import(tree)
    assert [v.value for v in Run.objects.get().values.all()] == [2.0, 2.1]


def test_a_removed_record_takes_its_run_away_and_nobody_elses(tree, alice):
    own = make_run(alice)
    path = ship(tree)
    evidence_import(tree)
    path.unlink()
    assert evidence_import(tree) == 0
    assert list(Run.objects.all()) == [own]


def changed(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_an_edited_record_is_refused_by_name_and_nothing_is_written(tree):
    ship(tree, "evidence/a.json", preset="quick")
    changed(ship(tree), durations={"total": 1.0})
    with pytest.raises(EvidenceError, match=r"rank-sweep-standard.json: digest is .* it was changed after the run"):
        evidence_import(tree)
    assert not Run.objects.exists()


def test_content_with_an_edited_record_is_refused_as_a_whole(tree):
    path = ship(tree)
    path.write_text(path.read_text().replace("0.8", "0.1"))
    with pytest.raises(ContentRefused, match=r"evidence/rank-sweep-standard.json:1: .*changed after the run"):
        content_import(folder=tree)
    assert not Claim.objects.exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "NaN", '{"lab": 1}'])
def test_a_file_that_is_no_record_is_refused_by_name(tree, content):
    write(tree, NAME, content)
    with pytest.raises(EvidenceError, match=r"^rank-sweep-standard.json: "):
        evidence_import(tree)


def test_a_record_of_an_unknown_lab_is_refused(tree):
    write(tree, NAME, to_json(seal(record().model_copy(update={"lab": "no-such", "digest": ""}))))
    with pytest.raises(ContentRefused, match="Unknown lab 'no-such'"):
        content_import(folder=tree)


def test_a_record_of_an_unknown_metric_is_refused(tree):
    metric = MetricRecord(name="no_such", unit="", point="", seed=0, value=1.0)
    write(tree, NAME, to_json(seal(record().model_copy(update={"metrics": [metric], "digest": ""}))))
    with pytest.raises(ContentRefused, match="rank-sweep has no metric no_such; it has "):
        content_import(folder=tree)


def test_two_records_of_the_same_preset_are_refused(tree):
    ship(tree)
    ship(tree, "evidence/copy.json", losses=(1.0, 2.0))
    with pytest.raises(ContentRefused, match=r"copy.json is another record of rank-sweep with preset 'standard'"):
        content_import(folder=tree)


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_importing_evidence_decides_the_claims_that_rest_on_it(tree):
    content_import(folder=tree)
    claim = Claim.objects.get(slug="loss-falls")
    assert (claim.verdict, claim.findings[0]["reason"]) == (Claim.AWAITING, "no-run")
    ship(tree)
    content_import(folder=tree)
    claim.refresh_from_db()
    assert claim.verdict == Claim.REPRODUCED
    assert claim.findings[0]["value"] == pytest.approx(0.7)
    assert list(claim.decided_by.all()) == [Run.objects.get()]


def test_taking_the_evidence_away_takes_the_verdict_back(tree):
    path = ship(tree)
    content_import(folder=tree)
    path.unlink()
    content_import(folder=tree)
    assert Claim.objects.get(slug="loss-falls").verdict == Claim.AWAITING


def test_a_changed_expectation_is_judged_anew(tree):
    ship(tree)
    content_import(folder=tree)
    name = "claims/math/loss-falls.yaml"
    write(tree, name, edited(name, checks=[LOSS_CHECK | {"at_most": 0.1}], statement=text("Another bound.")))
    content_import(folder=tree)
    assert Claim.objects.get(slug="loss-falls").verdict == Claim.REFUTED


def test_recompute_tells_what_changed_and_only_once():
    claim = make_measured_claim()
    add_values(make_run(preset="standard"), "validation_loss", POINT, 0.6, 0.7, 0.8)
    assert claims_recompute() == {claim.slug: (Claim.AWAITING, Claim.REPRODUCED)}
    assert claims_recompute() == {}


@pytest.mark.parametrize(
    ("method", "source", "checks", "verdict"),
    [
        ("formula", "folklore", [{"expected": 256.0}], Claim.REPRODUCED),
        ("formula", "folklore", [{"expected": 255.0}], Claim.REFUTED),
        ("formula", "folklore", [{"expected": 256.0}, {"at_most": 100.0}], Claim.PARTLY),
        ("citation", "hu2021", [], Claim.CITED),
        ("citation", "folklore", [], Claim.UNSUPPORTED),
    ],
)
def test_verdicts_that_need_no_run(method, source, checks, verdict):
    place = {"formula": "lora_layer_parameters", "arguments": {"d_in": 16, "d_out": 16, "rank": 8}}
    claim = make_claim(method=method, source=source, checks=[check | place for check in checks])
    claims_recompute()
    claim.refresh_from_db()
    assert claim.verdict == verdict
    assert len(claim.findings) == len(checks)


def test_the_reference_with_the_most_seeds_decides():
    quick, standard = make_run(preset="quick"), make_run(preset="standard")
    add_values(quick, "validation_loss", POINT, 5.0)
    add_values(standard, "validation_loss", POINT, 0.6, 0.7, 0.8)
    finding = finding_from_reference(CheckSource(**LOSS_CHECK))
    assert (finding.run, finding.n) == (standard.pk, 3)


def test_one_seed_settles_what_no_seed_can_change():
    run = add_values(make_run(preset="quick"), "trainable_parameters", POINT, 1000.0)
    finding = finding_from_reference(CheckSource(**COUNT_CHECK))
    assert (finding.verdict, finding.run) == (Claim.REPRODUCED, run.pk)


def test_a_readers_own_run_decides_nothing(alice):
    claim = make_measured_claim()
    add_values(make_run(alice, preset="standard"), "validation_loss", POINT, 0.6, 0.7, 0.8)
    claims_recompute()
    claim.refresh_from_db()
    assert claim.verdict == Claim.AWAITING


def test_curve_values_are_no_results():
    make_run().values.create(name="validation_loss", point=POINT, seed=0, step=3, value=0.1)
    assert finding_from_reference(CheckSource(**LOSS_CHECK)).reason == "no-run"


def test_evidence_of_an_older_lab_is_stale():
    run = make_run(preset="standard", lab_version=get_lab("rank-sweep").version + 1)
    add_values(run, "validation_loss", POINT, 0.6, 0.7, 0.8)
    finding = finding_from_reference(CheckSource(**LOSS_CHECK))
    assert (finding.verdict, finding.reason) == (Claim.AWAITING, "stale")
