from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from kb.http import SignedInRequest
from kb.models import Topic
from kb.queries import resolver_for
from labs.catalog import all_labs
from labs.chips import claim_value
from labs.citing import citation
from labs.comparison import NotComparable, comparison_figures, parameter_rows, result_rows, runs_to_compare
from labs.declaration import GROUPS, Lab
from labs.durations import expected_durations
from labs.exports import csv_of, json_of, script_of
from labs.figures import claim_figures, figures
from labs.forms import LabForm
from labs.guess_forms import GuessForm
from labs.listing import choice_of, chosen_runs
from labs.live import numbers_context, state_context
from labs.models import Claim, Run
from labs.queries import (
    claims_by,
    claims_of_lab,
    counts_by,
    lab_or_404,
    labs_of_claim,
    may_see,
    own_run,
    reference_run,
    run_for_user,
    runs_on_claim,
    table_of,
)
from labs.schema import CheckSource
from labs.services import LimitReached, Request, findings_of_runs, run_cancel, run_evidence, run_submit, run_twin
from labs.tradeoff import metrics_in, tradeoff_figure
from labs.waiting import Site

# htmx stops polling when a response carries this status.
STOP_POLLING = 286


@require_safe
def labs(request: HttpRequest) -> HttpResponse:
    labs = all_labs().values()
    groups = [(title, [lab for lab in labs if lab.group == group]) for group, title in GROUPS.items()]
    return render(request, "labs/labs.html", {"groups": groups})


def _lab_page(
    request: HttpRequest, lab: Lab, preset: str, form: LabForm, guess_form: GuessForm, **more: Any
) -> HttpResponse:
    reference = reference_run(lab)
    claims = claims_of_lab(lab)
    status = more.pop("status", 200)
    durations = expected_durations([lab])
    context = {
        "lab": lab,
        "form": form,
        "guess_form": guess_form,
        "preset": preset,
        "presets": [{"name": name, "duration": durations[lab.slug, name]} for name in lab.presets],
        "reference": reference,
        "figures": figures(lab, reference),
        "claims": claims,
        "own_runs": Run.objects.filter(owner=request.user.pk, lab_slug=lab.slug)[:5] if request.user.pk else [],
        "resolver": resolver_for(*((claim, ["statement"]) for claim in claims)),
        **more,
    }
    return render(request, "labs/lab.html", context, status=status)


@require_safe
def lab(request: HttpRequest, slug: str) -> HttpResponse:
    """What a lab asks, its reference result, and the form to run it; `?preset=` fills the form."""
    lab = lab_or_404(slug)
    preset = request.GET.get("preset", "")
    preset = preset if preset in lab.presets else "quick"
    return _lab_page(request, lab, preset, LabForm(lab, preset), GuessForm(lab))


@require_POST
@login_required
def submit(request: SignedInRequest, slug: str) -> HttpResponse:
    """Queue a run; when the same question has an answer already, offer that first (`again` runs it all the same)."""
    lab = lab_or_404(slug)
    form, guess_form = LabForm(lab, "quick", request.POST), GuessForm(lab, request.POST)
    if not (form.is_valid() and guess_form.is_valid()) or form.request is None:
        return _lab_page(request, lab, "", form, guess_form, status=422)
    if "again" not in request.POST and (found := _answers(request.user, form.request)):
        return _lab_page(request, lab, form.request.preset, form, guess_form, **found)
    try:
        return redirect(run_submit(user=request.user, request=form.request, expected=guess_form.expected))
    except LimitReached as e:
        form.add_error(None, str(e))
        return _lab_page(request, lab, "", form, guess_form, status=429 if e.temporary else 403)


def _answers(user: User, request: Request) -> dict[str, Any]:
    """What there is already for this question: a run of the reader's own, or somebody else's numbers."""
    if twin := run_twin(user=user, request=request):
        return {"twin": twin}
    evidence = run_evidence(user=user, request=request)
    if evidence and may_see(user, evidence):
        return {"evidence": evidence, "answer": evidence}
    if evidence:
        unnamed = {"is_anonymous": True, "finished_at": evidence.finished_at}
        return {"evidence": evidence, "compared": [unnamed], "table": table_of(request.lab, [evidence])}
    return {}


@require_safe
@login_required
def runs(request: SignedInRequest) -> HttpResponse:
    """The reader's own runs and the reference runs; staff see everybody's."""
    choice = choice_of(request.GET)
    context = {
        "page": Paginator(chosen_runs(request.user, choice), 25).get_page(request.GET.get("page")),
        "choice": choice,
        "labs": all_labs().values(),
        "statuses": dict(Run.STATUSES),
        "presets": ("quick", "standard", "gpu"),
    }
    return render(request, "labs/runs.html", context)


@require_safe
@login_required
def compare(request: SignedInRequest) -> HttpResponse:
    """`?run=12&run=15`: runs of one lab beside each other; `&x=…&y=…` draws two of their metrics."""
    try:
        found = runs_to_compare(request.user, request.GET.getlist("run"))
    except NotComparable as e:
        messages.error(request, str(e))
        return redirect("labs-runs")
    lab = found[0].lab
    table = result_rows(lab, found)
    axes = {metric.name: metric for metric in metrics_in(table)}
    x, y = axes.get(request.GET.get("x", "")), axes.get(request.GET.get("y", ""))
    context = {
        "lab": lab,
        "runs": found,
        "figures": comparison_figures(lab, found),
        "parameters": parameter_rows(found),
        "table": table,
        "axes": axes.values(),
        "x": x,
        "y": y,
        "tradeoff": tradeoff_figure(lab, found, x, y) if x and y else None,
    }
    return render(request, "labs/compare.html", context)


@require_safe
@login_required
def workers(request: SignedInRequest) -> HttpResponse:
    """Who computes here, what waits, and for what. Names of machines, and other people's runs, are for staff."""
    site = Site()
    waiting = [(run, site.why_waiting(run)) for run in site.waiting if may_see(request.user, run)]
    context = {"queues": site.queues(), "workers": site.workers, "waiting": waiting}
    return render(request, "labs/workers.html", context)


@require_safe
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    """A run with its numbers beside the reference."""
    run = run_for_user(request.user, run_id)
    return render(request, "labs/run.html", state_context(run, request.user) | numbers_context(run))


@require_safe
def progress(request: HttpRequest, run_id: int) -> HttpResponse:
    """What has changed on a run's page; htmx asks for it each second until the run has ended.

    The numbers come along when there are others than those of the `seen` points.
    """
    run = run_for_user(request.user, run_id)
    context = {"is_poll": True, **state_context(run, request.user)}
    if not run.is_live or request.GET.get("seen") != str(len(run.finished_points)):
        context |= numbers_context(run)
    return render(request, "labs/_run_news.html", context, status=200 if run.is_live else STOP_POLLING)


@require_POST
@login_required
def cancel(request: SignedInRequest, run_id: int) -> HttpResponse:
    run = own_run(request.user, run_id)
    if not run_cancel(run):
        messages.info(request, _("This run has already ended."))
    return redirect(run)


EXPORTS = {
    "json": (json_of, "application/json"),
    "csv": (csv_of, "text/csv; charset=utf-8"),
    "sh": (script_of, "text/x-shellscript; charset=utf-8"),
}


@require_safe
def export(request: HttpRequest, run_id: int, form: str) -> HttpResponse:
    """The record of a run, its numbers, or a script that repeats it, as a download."""
    run = run_for_user(request.user, run_id)
    if form not in EXPORTS or run.status != Run.SUCCEEDED:
        raise Http404(f"Run {run.pk} has no {form}")
    write, content_type = EXPORTS[form]
    name = f"{run.lab_slug}-{run.pk}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(write(run), content_type=content_type, headers=headers)


@require_safe
def artifact(request: HttpRequest, run_id: int, name: str) -> FileResponse:
    """A file that a run produced, always as a download."""
    run = run_for_user(request.user, run_id)
    artifact = get_object_or_404(run.artifacts, name=name)
    path = settings.RUNS_DIR / str(run.pk) / "artifacts" / artifact.name
    try:
        return FileResponse(path.open("rb"), as_attachment=True, filename=artifact.name)
    except OSError as e:
        raise Http404(f"The file {name} is no longer there") from e


@require_safe
def claims(request: HttpRequest) -> HttpResponse:
    """The ledger: all claims, by verdict, method or topic."""
    # Without NUL, which PostgreSQL refuses to compare with.
    chosen = {name: request.GET.get(name, "").replace("\0", "") for name in ("verdict", "method", "topic")}
    found = claims_by(verdict=chosen["verdict"], method=chosen["method"], topic__slug=chosen["topic"])
    page = Paginator(found, 50).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "chosen": chosen,
        "verdicts": counts_by("verdict", Claim.VERDICTS),
        "methods": counts_by("method", Claim.METHODS),
        "topics": Topic.objects.filter(claims__isnull=False).distinct(),
        "resolver": resolver_for(*((claim, ["statement", "note"]) for claim in page)),
    }
    return render(request, "labs/claims.html", context)


@require_safe
def claim(request: HttpRequest, slug: str) -> HttpResponse:
    """The statement, what decided it, every run that bears on it, and the texts that rest on it."""
    claim = get_object_or_404(Claim.objects.select_related("topic").prefetch_related("points", "decided_by"), slug=slug)
    checks = [CheckSource.model_validate(check) for check in claim.checks]
    found_runs = runs_on_claim(claim, request.user)
    findings = findings_of_runs(checks, found_runs)
    references = {run.lab_slug: run for run in found_runs if run.origin == Run.REFERENCE and run.preset == "standard"}
    questions = claim.questions.select_related("root")
    context = {
        "claim": claim,
        "value": claim_value(claim),
        "checks": list(zip(checks, claim.findings, strict=False)),
        "labs": labs_of_claim(claim),
        "evidence": [{"run": run, "findings": findings[run.pk]} for run in found_runs],
        "figures": claim_figures(checks, references),
        "citation": citation(claim, request.build_absolute_uri(claim.get_absolute_url())),
        "questions": questions,
        "resolver": resolver_for((claim, Claim.TEXTS), *((question, ["prompt"]) for question in questions)),
    }
    return render(request, "labs/claim.html", context)


@require_safe
def claim_card(request: HttpRequest, slug: str) -> HttpResponse:
    """What a chip shows while the pointer or the keyboard is on it."""
    claim = get_object_or_404(Claim.objects.prefetch_related("decided_by"), slug=slug)
    finding = claim.findings[0] if claim.findings else None
    context = {
        "claim": claim,
        "value": claim_value(claim),
        "finding": finding,
        "run": next(iter(claim.decided_by.all()), None),
        "resolver": resolver_for((claim, ["statement"])),
    }
    response = render(request, "labs/_claim_card.html", context)
    patch_cache_control(response, private=True, max_age=60)
    return response
