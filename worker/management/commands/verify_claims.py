"""`verify_claims`: compute every verdict anew, and say what changed."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from labs import ledger
from labs.models import Claim
from labs.queries import counts_by
from labs.services import claims_recompute
from worker.recording import RunFailed
from worker.verification import Repeater, quick_again, simulations_again

KINDS = ("formula", "simulation", "quick")


class Command(BaseCommand):
    help = (
        "Compute the verdicts of all claims from formulas and evidence, and compare them with those accepted in "
        "content/verdicts.yaml. Fails when one differs, or when a repeated run contradicts it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--rerun", default="formula", metavar="KINDS", help=f"joined by commas, of: {', '.join(KINDS)}"
        )
        parser.add_argument("--accept", action="store_true", help="write the verdicts to content/verdicts.yaml")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        kinds = kinds_of(options["rerun"])
        claims_recompute()  # formulas are computed, so that `formula` needs nothing more
        claims = list(Claim.objects.select_related("topic"))
        repeat = Repeater(self.stderr.write)
        try:
            differences = simulations_again(claims, repeat) if "simulation" in kinds else []
            repeated = quick_again(claims, repeat) if "quick" in kinds else []
        except RunFailed as error:
            raise CommandError(f"A run that claims rest on did not succeed: {error}") from error
        if options["accept"]:
            ledger.accept_verdicts(settings.CONTENT_DIR, claims)
        document = document_of(claims, differences, repeated, repeat.runs)
        self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1) if options["json"] else as_text(document))
        if document["changes"] or differences or any(row["contradicts"] for row in repeated):
            raise SystemExit(1)


def kinds_of(text: str) -> set[str]:
    kinds = set(filter(None, text.split(",")))
    if unknown := kinds - set(KINDS):
        raise CommandError(f"--rerun {text!r}: there is no {', '.join(sorted(unknown))}; allowed: {', '.join(KINDS)}")
    return kinds


def document_of(
    claims: list[Claim],
    differences: list[dict[str, Any]],
    repeated: list[dict[str, Any]],
    runs: list[dict[str, Any]],
) -> dict[str, Any]:
    wanted, missing = ledger.unsettled(settings.CONTENT_DIR, claims)
    return {
        "counts": counts_by("verdict", Claim.VERDICTS),
        "statements": {"listed": len(wanted), "settled": len(wanted) - len(missing), "missing": missing},
        "changes": ledger.changes(settings.CONTENT_DIR, claims),
        "differences": differences,
        "repeated": repeated,
        "runs": runs,
        "claims": ledger.entries(claims),
    }


def as_text(document: dict[str, Any]) -> str:
    lines = [f"{verdict}: {count}" for verdict, count in document["counts"].items()]
    statements = document["statements"]
    lines.append(f"{statements['settled']} of {statements['listed']} listed statements settled")
    if runs := document["runs"]:
        lines += [f"made again: {run['lab']} {run['preset']}: {run['seconds']:.0f} s" for run in runs]
        lines.append(f"{len(runs)} runs made again in {sum(run['seconds'] for run in runs) / 60:.0f} min")
    lines += [f"not settled: {i}" for i in statements["missing"]]
    lines += [f"changed: {c['slug']}: {c['before'] or 'new'} -> {c['after'] or 'gone'}" for c in document["changes"]]
    lines += [
        f"differs: {d['lab']} {d['metric']}[{d['point']}]: {d['before']} -> {d['after']}"
        for d in document["differences"]
    ]
    lines += [
        f"contradicts: {r['slug']}: {r['by_reference']} -> {r['by_this_run']} ({r['found']:.6g})"
        for r in document["repeated"]
        if r["contradicts"]
    ]
    return "\n".join(lines)
