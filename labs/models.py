"""Runs with their metrics and artefacts, and claims with their verdicts."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from kb.fields import OrderedJSONField
from kb.history import ItemHistory
from kb.models import Point, Topic
from labs.catalog import get_lab
from labs.declaration import Lab
from labs.reasons import message
from labs.staleness import Moved, libraries_moved, weights_moved


class Work(models.Model):
    """What one worker at a time holds: a run, or a part of it.

    A worker holds it for one attempt, under a lease that it renews. Only `labs.services` moves it from state to state.
    """

    QUEUED, RUNNING, SUCCEEDED = "queued", "running", "succeeded"
    FAILED, CANCELLED, TIMED_OUT = "failed", "cancelled", "timed_out"
    STATUSES = [
        (QUEUED, "queued"),
        (RUNNING, "running"),
        (SUCCEEDED, "succeeded"),
        (FAILED, "failed"),
        (CANCELLED, "cancelled"),
        (TIMED_OUT, "timed out"),
    ]
    LIVE = (QUEUED, RUNNING)
    TRANSITIONS: dict[str, tuple[str, ...]] = {
        QUEUED: (RUNNING, CANCELLED),
        RUNNING: (SUCCEEDED, FAILED, CANCELLED, TIMED_OUT, QUEUED),  # QUEUED: its worker stopped, or was lost
        SUCCEEDED: (),
        FAILED: (),
        CANCELLED: (),
        TIMED_OUT: (),
    }

    status = models.CharField(max_length=10, choices=STATUSES, default=QUEUED)
    # Goes up with each claim. Whoever writes names its attempt, so that a worker that was replaced writes nothing.
    attempt = models.PositiveIntegerField(default=0)
    lost_attempts = models.PositiveIntegerField(default=0)  # in a row, whose worker fell silent
    worker = models.CharField(max_length=200, blank=True)  # which holds it, or held it last
    lease_until = models.DateTimeField(null=True, blank=True)  # by the clock of the database
    # Why it is in this state (why it waits, why it did not succeed) and what to change: see labs.reasons.
    reason_code = models.CharField(max_length=40, blank=True)
    reason_args = models.JSONField(default=dict, blank=True)
    # The training under way: {"step", "steps", "loss", "tokens_per_second"}; empty before there is one.
    training = models.JSONField(default=dict, blank=True)

    class Meta:
        abstract = True

    @property
    def is_live(self) -> bool:
        return self.status in self.LIVE

    @property
    def reason(self) -> str:
        """The reason in the reader's language."""
        return message(self.reason_code, self.reason_args)


class Run(Work):
    """One lab run. The row is the truth; the task that executes it carries only its id."""

    # "reference" runs ship with the project; "site" runs were asked for here.
    SITE, REFERENCE = "site", "reference"
    ORIGINS = [(SITE, "this site"), (REFERENCE, "reference")]

    # A worker listens to the queues of what its machine has.
    CPU, GPU = "cpu", "gpu"
    QUEUES = [(CPU, "CPU"), (GPU, "GPU")]

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="runs")
    origin = models.CharField(max_length=10, choices=ORIGINS, default=SITE)
    lab_slug = models.CharField(max_length=80)
    lab_version = models.PositiveIntegerField()
    preset = models.CharField(max_length=20, blank=True)
    params = models.JSONField(default=dict)
    seeds = models.JSONField(default=list)
    # Same lab, version, parameters and seeds: the same question.
    question_key = models.CharField(max_length=64)

    queue = models.CharField(max_length=10, choices=QUEUES, default=CPU)
    needs = models.JSONField(default=dict, blank=True)  # what a machine has to have: labs.declaration.Needs

    traceback = models.TextField(blank=True)  # for the operator
    log_tail = models.TextField(blank=True)
    cancel_requested = models.BooleanField(default=False)
    progress_done = models.FloatField(default=0)
    progress_total = models.FloatField(default=0)
    progress_within = models.FloatField(default=0)  # of what is under way after progress_done: its share, 0 to 1
    # How fast it goes is told from where this attempt began to compute, and from when it last got further.
    progress_from = models.FloatField(default=0)
    progress_since = models.DateTimeField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    note_code = models.CharField(max_length=40, blank=True)  # what it does just now: see labs.reasons
    note_args = models.JSONField(default=dict, blank=True)
    memory_mb = models.PositiveIntegerField(null=True, blank=True)  # of all its processes together
    peak_memory_mb = models.PositiveIntegerField(null=True, blank=True)

    environment = models.JSONField(default=dict)
    durations = models.JSONField(default=dict)
    finished_points = models.JSONField(default=list)  # [key, seed] pairs that need no computing again
    evidence_digest = models.CharField(max_length=64, blank=True)  # of the shipped record (reference runs)

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [
            # The twin of a submission, and the evidence for a claim.
            models.Index(fields=["question_key"], name="run_question_key"),
            models.Index(fields=["lab_slug", "origin", "status"], name="run_lab_origin_status"),
            # A reader's own list.
            models.Index(fields=["owner", "-id"], name="run_owner_newest"),
            # What waits, and whose lease ended: asked for every few seconds by every worker.
            models.Index(
                fields=["status", "lease_until"], condition=Q(status__in=["queued", "running"]), name="run_live"
            ),
            # What has ended lately: asked for at every scrape of the metrics.
            models.Index(fields=["finished_at"], name="run_finished"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["lab_slug", "preset"], condition=Q(origin="reference"), name="one_reference_run_per_preset"
            ),
        ]

    def __str__(self) -> str:
        return f"Run {self.pk} of {self.lab_slug} ({self.status})"

    def get_absolute_url(self) -> str:
        return reverse("labs-run", args=[self.pk])

    @property
    def lab(self) -> Lab:
        return get_lab(self.lab_slug)

    @property
    def progress_note(self) -> str:
        """What it does just now, in the reader's language."""
        return message(self.note_code, self.note_args)

    @property
    def is_stale(self) -> bool:
        """Whether its numbers are about something else by now, because the lab or the weights have changed."""
        return self.lab_version != self.lab.version or bool(weights_moved(self.environment))

    @property
    def libraries_moved(self) -> list[Moved]:
        """Libraries that have another version here than where it ran."""
        return libraries_moved(self.environment)

    @property
    def percent(self) -> int:
        if self.status == self.SUCCEEDED:
            return 100
        done = self.progress_done + self.progress_within
        return min(99, int(100 * done / self.progress_total)) if self.progress_total else 0


class Prediction(models.Model):
    """What a learner expected of a run before it began. Committed with the run, scored when it has succeeded."""

    CERTAINTIES = [(1, _("a guess")), (2, _("fairly sure")), (3, _("certain"))]

    run = models.ForeignKey(Run, models.CASCADE, related_name="predictions")
    guess = models.SlugField(max_length=40)  # of the lab: labs.declaration.Guess
    answer = models.JSONField()  # a number, or points (labs.guessing.Answer)
    certainty = models.PositiveSmallIntegerField(choices=CERTAINTIES)
    score = models.FloatField(null=True, blank=True)  # 0 to 1; null until the run is there, and when it lacks a point

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["run", "guess"], name="prediction_once")]

    def __str__(self) -> str:
        return f"{self.guess} of run {self.run_id}: {self.answer}"


class RunPart(Work):
    """One point and seed of a run whose points are shared out among several workers, claimed as runs are.

    It only says who works on the point: the results belong to the run, and `Run.finished_points` says which are there.
    """

    run = models.ForeignKey(Run, models.CASCADE, related_name="parts")
    key = models.CharField(max_length=200, blank=True)  # see labs.points
    seed = models.BigIntegerField()

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["run", "key", "seed"], name="part_once")]

    def __str__(self) -> str:
        return f"Part {self.key} (seed {self.seed}) of run {self.run_id}: {self.status}"


class Machine(models.Model):
    """What a worker announced about its machine; one that has not been seen for a while is gone."""

    name = models.CharField(max_length=200, unique=True)  # of the worker: worker@host
    host = models.CharField(max_length=200)
    queues = models.JSONField(default=list)
    cores = models.PositiveIntegerField()
    memory_mb = models.PositiveIntegerField()
    gpus = models.JSONField(default=list)  # [{"name", "memory_mb", "capability"}]
    versions = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    last_seen = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MetricValue(models.Model):
    """One number of a run. Without a step it is a result, with a step a point of a curve."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="values")
    name = models.CharField(max_length=80)
    point = models.CharField(max_length=200, blank=True)
    seed = models.BigIntegerField(default=0)
    step = models.PositiveIntegerField(null=True, blank=True)
    value = models.FloatField()

    class Meta:
        ordering = ["pk"]
        constraints = [
            # A number delivered twice is stored once. Two constraints, because NULLs differ in an index.
            models.UniqueConstraint(
                fields=["run", "name", "point", "seed"], condition=Q(step=None), name="result_once"
            ),
            models.UniqueConstraint(
                fields=["run", "name", "point", "seed", "step"],
                condition=Q(step__isnull=False),
                name="curve_value_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}[{self.point}] = {self.value}"


class Artifact(models.Model):
    """A file that a run produced, below RUNS_DIR/<run id>/."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="artifacts")
    name = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()  # bytes
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="artifact_once")]

    def __str__(self) -> str:
        return self.name


class Claim(models.Model):
    """A checkable statement. Its verdict is computed by `labs.verdicts`, never typed."""

    TEXTS = ("statement", "often_said", "note", "assumptions")  # Markdown
    METHODS = [(m, m) for m in ("formula", "simulation", "measurement", "citation")]
    REPRODUCED, REFUTED, PARTLY = "reproduced", "refuted", "partly"
    CITED, UNSUPPORTED, UNDECIDED, AWAITING = "cited", "unsupported", "undecided", "awaiting"
    VERDICTS = [
        (REPRODUCED, "reproduced"),
        (REFUTED, "refuted"),
        (PARTLY, "partly"),
        (CITED, "cited"),
        (UNSUPPORTED, "unsupported"),
        (UNDECIDED, "undecided"),
        (AWAITING, "awaiting run"),
    ]

    slug = models.SlugField(max_length=80, unique=True)
    topic = models.ForeignKey(Topic, models.PROTECT, related_name="claims")
    method = models.CharField(max_length=20, choices=METHODS)
    statement_en = models.TextField(blank=True)
    statement_zh = models.TextField(blank=True)
    often_said_en = models.TextField(blank=True)
    often_said_zh = models.TextField(blank=True)
    note_en = models.TextField(blank=True)
    note_zh = models.TextField(blank=True)
    assumptions_en = models.TextField(blank=True)
    assumptions_zh = models.TextField(blank=True)
    unit = models.CharField(max_length=40, blank=True)
    source = models.CharField(max_length=80)
    place = models.CharField(max_length=200, blank=True)
    cited = models.FloatField(null=True, blank=True)
    settles = models.JSONField(default=list, blank=True)
    checks = OrderedJSONField(default=list, blank=True)  # labs.schema.CheckSource, as written
    points = models.ManyToManyField(Point, related_name="claims", blank=True)  # those whose text shows the claim

    # Computed by labs.services.claims_recompute:
    verdict = models.CharField(max_length=20, choices=VERDICTS, default=AWAITING)
    findings = models.JSONField(default=list)  # one labs.verdicts.Finding per check, in the order of `checks`
    decided_by = models.ManyToManyField(Run, related_name="decides", blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    history = ItemHistory()

    class Meta:
        ordering = ["topic__position", "slug"]

    def __str__(self) -> str:
        return self.slug

    def get_absolute_url(self) -> str:
        return reverse("labs-claim", args=[self.slug])
