"""Writes of the labs: one function an action, each one transaction."""

from labs.services.admission import run_admit
from labs.services.claims import claims_recompute, finding_from_reference, finding_from_run, findings_of_runs
from labs.services.evidence import evidence_code, evidence_import
from labs.services.limits import LimitReached
from labs.services.machines import machine_announce, machine_seen
from labs.services.parts import (
    part_admit,
    part_admit_next,
    part_claim,
    part_fail,
    part_finish_point,
    part_heartbeat,
    part_record_values,
    part_release,
    parts_make,
    parts_ring,
)
from labs.services.predictions import predictions_commit, predictions_score
from labs.services.requests import (
    Expected,
    Request,
    question_key,
    run_evidence,
    run_request,
    run_submit,
    run_twin,
)
from labs.services.runs import (
    run_cancel,
    run_claim,
    run_environment,
    run_finish,
    run_finish_point,
    run_heartbeat,
    run_keep_artifact,
    run_progress,
    run_record_values,
    run_release,
    runs_reap,
    runs_ring_waiting,
)
from labs.services.work import LeaseWatch

__all__ = [
    "Expected",
    "LeaseWatch",
    "LimitReached",
    "Request",
    "claims_recompute",
    "evidence_code",
    "evidence_import",
    "finding_from_reference",
    "finding_from_run",
    "findings_of_runs",
    "machine_announce",
    "machine_seen",
    "part_admit",
    "part_admit_next",
    "part_claim",
    "part_fail",
    "part_finish_point",
    "part_heartbeat",
    "part_record_values",
    "part_release",
    "parts_make",
    "parts_ring",
    "predictions_commit",
    "predictions_score",
    "question_key",
    "run_admit",
    "run_cancel",
    "run_claim",
    "run_environment",
    "run_evidence",
    "run_finish",
    "run_finish_point",
    "run_heartbeat",
    "run_keep_artifact",
    "run_progress",
    "run_record_values",
    "run_release",
    "run_request",
    "run_submit",
    "run_twin",
    "runs_reap",
    "runs_ring_waiting",
]
