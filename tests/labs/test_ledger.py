"""The ledger as data: entries, what is settled, and what differs from the accepted verdicts."""

import pytest

from labs import ledger
from labs.models import Claim
from labs.queries import counts_by
from labs.services import claims_recompute
from tests.builders import COUNT_CHECK, FORMULA_CHECK, add_values, make_claim, make_measured_claim, make_run
from tests.content_tree import write

pytestmark = pytest.mark.django_db
POINT = "rank=64,scaling=double"


def computed() -> list[Claim]:
    claims_recompute()
    return list(Claim.objects.all())


def test_an_entry_has_what_was_expected_and_what_was_found():
    make_claim(slug="count", settles=["C001"], unit="parameters")
    [entry] = ledger.entries(computed())
    assert {name: entry[name] for name in ("slug", "settles", "method", "verdict", "unit")} == {
        "slug": "count",
        "settles": ["C001"],
        "method": "formula",
        "verdict": Claim.REPRODUCED,
        "unit": "parameters",
    }
    assert (entry["expected"], entry["found"], entry["n"], entry["interval"]) == (256.0, 256.0, 1, None)


def test_seeds_give_an_interval():
    add_values(make_run(), "validation_loss", POINT, 0.6, 0.7, 0.8)
    make_measured_claim()
    [entry] = ledger.entries(computed())
    low, high = entry["interval"]
    assert entry["n"] == 3
    assert low < entry["found"] < high
    assert entry["expected"] == {"at_most": 1.0}


def test_a_citation_has_its_value_and_no_checks():
    make_claim(method="citation", checks=[], cited=73.4)
    [entry] = ledger.entries(computed())
    assert (entry["expected"], entry["found"], entry["n"], entry["checks"]) == (73.4, None, 0, [])


def test_counts_name_every_verdict():
    make_claim()
    make_measured_claim()
    computed()
    assert counts_by("verdict", Claim.VERDICTS) == {
        "reproduced": 1,
        "refuted": 0,
        "partly": 0,
        "cited": 0,
        "unsupported": 0,
        "undecided": 0,
        "awaiting": 1,
    }


def test_what_no_claim_settles_is_named(tree):
    write(tree, ledger.STATEMENTS, {"statements": [{"id": "C001"}, {"id": "C002"}]})
    make_claim(settles=["C002"])
    assert ledger.unsettled(tree, computed()) == (["C001", "C002"], ["C001"])


def test_accepted_verdicts_do_not_differ(tree):
    make_claim(slug="count")
    claims = computed()
    assert ledger.changes(tree, claims) == [{"slug": "count", "before": "", "after": "reproduced"}]
    ledger.accept_verdicts(tree, claims)
    assert ledger.changes(tree, claims) == []


def test_a_verdict_that_changed_and_a_claim_that_went_are_named(tree):
    wrong = make_claim(slug="count")
    gone = make_claim(slug="gone")
    ledger.accept_verdicts(tree, computed())
    gone.delete()
    wrong.checks = [FORMULA_CHECK | {"expected": 1.0}]
    wrong.save()
    assert ledger.changes(tree, computed()) == [
        {"slug": "count", "before": "reproduced", "after": "refuted"},
        {"slug": "gone", "before": "reproduced", "after": ""},
    ]


def test_a_metric_without_chance_has_no_interval():
    add_values(make_run(), "trainable_parameters", POINT, 1000.0, 1000.0)
    make_measured_claim(checks=[COUNT_CHECK])
    [entry] = ledger.entries(computed())
    assert (entry["verdict"], entry["found"], entry["interval"]) == (Claim.REPRODUCED, 1000.0, None)
