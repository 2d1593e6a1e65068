"""Writes of the labs: one function an action, each one transaction."""

from labs.services.claims import claims_recompute, finding_from_reference, finding_from_run, findings_of_runs
from labs.services.evidence import evidence_code, evidence_import
from labs.services.requests import (
    MAX_LIVE_RUNS,
    Request,
    TooManyRuns,
    question_key,
    run_request,
    run_submit,
    run_twin,
)
from labs.services.runs import (
    LeaseWatch,
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

__all__ = [
    "MAX_LIVE_RUNS",
    "LeaseWatch",
    "Request",
    "TooManyRuns",
    "claims_recompute",
    "evidence_code",
    "evidence_import",
    "finding_from_reference",
    "finding_from_run",
    "findings_of_runs",
    "question_key",
    "run_cancel",
    "run_claim",
    "run_environment",
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
