from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ReadOnlyModelViewSet, ViewSet

from labs.catalog import all_labs, get_lab
from labs.declaration import Lab
from labs.durations import Duration, expected_durations
from labs.models import Artifact, Claim, MetricValue, Run
from labs.parameters import parameter_schema
from labs.progress import seconds_left
from labs.queries import may_see, own_run, visible_runs
from labs.services import run_cancel, run_request, run_submit, run_twin
from labs.waiting import QueueState, Site, WorkerState


def signed_in(request: Request) -> User:
    """The user of a request that the permissions have let through."""
    if isinstance(request.user, AnonymousUser):
        raise NotAuthenticated
    return request.user


class FindingSerializer(serializers.Serializer):
    """What one check of a claim found."""

    verdict = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    n = serializers.IntegerField()
    reason = serializers.CharField()
    run = serializers.IntegerField(allow_null=True)


class ClaimSerializer(serializers.ModelSerializer):
    topic: serializers.SlugRelatedField = serializers.SlugRelatedField("slug", read_only=True)
    findings = FindingSerializer(many=True, read_only=True)

    class Meta:
        model = Claim
        fields = [
            "slug",
            "topic",
            "method",
            "verdict",
            *(
                f"{f}_{language}"
                for f in ("statement", "often_said", "note", "assumptions")
                for language in ("en", "zh")
            ),
            "unit",
            "source",
            "place",
            "cited",
            "settles",
            "checks",
            "findings",
            "decided_at",
        ]


class ClaimViewSet(ReadOnlyModelViewSet):
    queryset = Claim.objects.select_related("topic")
    serializer_class = ClaimSerializer
    lookup_field = "slug"
    lookup_value_converter = "slug"
    filterset_fields = ["verdict", "method", "topic__slug"]


class LabSerializer(serializers.Serializer):
    """A lab's declaration; `parameters` is a JSON Schema."""

    slug = serializers.CharField()
    group = serializers.CharField()
    version = serializers.IntegerField()
    title = serializers.DictField(child=serializers.CharField())
    question = serializers.DictField(child=serializers.CharField())
    parameters = serializers.DictField()
    metrics = serializers.ListField(child=serializers.DictField())
    presets = serializers.DictField(child=serializers.DictField())


def lab_documents(labs: Iterable[Lab]) -> list[dict[str, Any]]:
    """Labs as the API and `list_labs` show them."""
    labs = list(labs)
    durations = expected_durations(labs)
    return [_lab_document(lab, durations) for lab in labs]


def _lab_document(lab: Lab, durations: dict[tuple[str, str], Duration]) -> dict[str, Any]:
    return {
        "slug": lab.slug,
        "group": lab.group,
        "version": lab.version,
        "title": lab.title.model_dump(),
        "question": lab.question.model_dump(),
        "parameters": parameter_schema(lab),
        "metrics": [asdict(metric) | {"title": metric.title.model_dump()} for metric in lab.metrics],
        "presets": {
            name: asdict(preset)
            | {
                "needs": lab.needs(name).document(),
                "expected_seconds": durations[lab.slug, name].seconds,
                "is_measured": durations[lab.slug, name].is_measured,
            }
            for name, preset in lab.presets.items()
        },
    }


class LabViewSet(ViewSet):
    lookup_field = "slug"
    lookup_value_converter = "slug"
    permission_classes = [AllowAny]

    @extend_schema(responses=LabSerializer(many=True))
    def list(self, request: Request) -> Response:
        return Response(lab_documents(all_labs().values()))

    @extend_schema(responses=LabSerializer)
    def retrieve(self, request: Request, slug: str) -> Response:
        if slug not in all_labs():
            raise NotFound(f"Unknown lab {slug!r}; allowed: {', '.join(all_labs())}")
        return Response(lab_documents([get_lab(slug)])[0])


class ArtifactSerializer(serializers.ModelSerializer):
    class Meta:
        model = Artifact
        fields = ["name", "size", "sha256"]


class TrainingSerializer(serializers.Serializer):
    """The training under way; null before there is one."""

    step = serializers.IntegerField()
    steps = serializers.IntegerField()
    loss = serializers.FloatField()
    tokens_per_second = serializers.FloatField()


class RunSerializer(serializers.ModelSerializer):
    lab = serializers.CharField(source="lab_slug")
    percent = serializers.IntegerField()
    waiting = serializers.SerializerMethodField(help_text="What a waiting run waits for.")
    training = serializers.SerializerMethodField()
    seconds_left = serializers.SerializerMethodField(help_text="A rough figure; null when it cannot be told.")
    artifacts = ArtifactSerializer(many=True, read_only=True)

    class Meta:
        model = Run
        fields = [
            "id",
            "lab",
            "lab_version",
            "origin",
            "preset",
            "params",
            "seeds",
            "queue",
            "needs",
            "status",
            "reason",
            "waiting",
            "percent",
            "progress_note",
            "attempt",
            "training",
            "seconds_left",
            "memory_mb",
            "peak_memory_mb",
            "cancel_requested",
            "environment",
            "durations",
            "artifacts",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields

    @extend_schema_field(TrainingSerializer(allow_null=True))
    def get_training(self, run: Run) -> dict[str, Any] | None:
        return run.training or None

    def get_seconds_left(self, run: Run) -> float | None:
        return seconds_left(run, timezone.now())

    def get_waiting(self, run: Run) -> str:
        return self._site.why_waiting(run)

    @cached_property
    def _site(self) -> Site:
        """One for all runs of an answer."""
        return Site()


class SubmitSerializer(serializers.Serializer):
    """What to run. Parameters that are not given come from the preset, then from the lab's defaults."""

    lab = serializers.CharField(max_length=80)
    preset = serializers.CharField(max_length=20, required=False, default="")
    params = serializers.DictField(required=False, default=dict)
    seeds = serializers.ListField(child=serializers.IntegerField(), required=False, allow_null=True, default=None)
    again = serializers.BooleanField(required=False, default=False, help_text="Run even when a twin exists.")


class MetricValueSerializer(serializers.ModelSerializer):
    class Meta:
        model = MetricValue
        fields = ["name", "point", "seed", "step", "value"]


class RunViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet):
    """Reference runs and your own. `POST` queues a run: 201 for a new one, 200 for a twin that exists already."""

    lookup_value_converter = "int"
    serializer_class = RunSerializer
    queryset = Run.objects.none()
    filterset_fields = ["lab_slug", "status", "origin"]

    def get_queryset(self) -> QuerySet[Run]:
        return visible_runs(self.request.user).prefetch_related("artifacts")

    @extend_schema(request=SubmitSerializer, responses={201: RunSerializer, 200: RunSerializer})
    def create(self, request: Request) -> Response:
        wish = SubmitSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        asked = wish.validated_data
        again = asked.pop("again")
        prepared = run_request(lab_slug=asked.pop("lab"), **asked)
        twin = run_twin(user=signed_in(request), request=prepared)
        if twin and not again:
            return Response(RunSerializer(twin).data)
        run = run_submit(user=signed_in(request), request=prepared)
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=RunSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: int) -> Response:
        run = own_run(signed_in(request), pk)
        run_cancel(run)
        run.refresh_from_db()
        return Response(RunSerializer(run).data)

    @extend_schema(responses=MetricValueSerializer(many=True))
    @action(detail=True, filterset_fields=[])
    def metrics(self, request: Request, pk: int) -> Response:
        """Every number of the run, results and curves, in the order in which they were logged."""
        page = self.paginate_queryset(self.get_object().values.all())
        return self.get_paginated_response(MetricValueSerializer(page, many=True).data)


class WorkerSerializer(serializers.Serializer):
    """A worker; names of machines are for staff, and so are other people's runs."""

    number = serializers.IntegerField()
    name = serializers.CharField(allow_null=True)
    is_live = serializers.BooleanField()
    is_busy = serializers.BooleanField()
    runs = serializers.ListField(child=serializers.IntegerField())
    queues = serializers.ListField(child=serializers.CharField())
    cores = serializers.IntegerField()
    memory_mb = serializers.IntegerField()
    gpus = serializers.ListField(child=serializers.DictField())
    versions = serializers.DictField(child=serializers.CharField())
    started_at = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()


def worker_document(state: WorkerState, user: User) -> dict[str, Any]:
    shared = ("queues", "cores", "memory_mb", "gpus", "versions", "started_at", "last_seen")
    return {
        "number": state.number,
        "name": state.machine.name if user.is_staff else None,
        "is_live": state.is_live,
        "is_busy": bool(state.runs),
        "runs": [run.pk for run in state.runs if may_see(user, run)],
        **{name: getattr(state.machine, name) for name in shared},
    }


class WorkerViewSet(ViewSet):
    """The workers that were seen within a day."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=WorkerSerializer(many=True))
    def list(self, request: Request) -> Response:
        documents = [worker_document(state, signed_in(request)) for state in Site().workers]
        return Response(WorkerSerializer(documents, many=True).data)


class WaitingRunSerializer(serializers.Serializer):
    run = serializers.IntegerField()
    waiting = serializers.CharField()


class QueueSerializer(serializers.Serializer):
    """A queue; `runs` are those of the waiting ones that you may see."""

    name = serializers.CharField()
    workers = serializers.IntegerField()
    running = serializers.IntegerField()
    waiting = serializers.IntegerField()
    oldest = serializers.DateTimeField(allow_null=True)
    runs = WaitingRunSerializer(many=True)


def queue_document(queue: QueueState, site: Site, user: User) -> dict[str, Any]:
    runs = [run for run in site.waiting if run.queue == queue.name and may_see(user, run)]
    return asdict(queue) | {"runs": [{"run": run.pk, "waiting": site.why_waiting(run)} for run in runs]}


class QueueViewSet(ViewSet):
    """The queues, and what each of your waiting runs waits for."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=QueueSerializer(many=True))
    def list(self, request: Request) -> Response:
        site = Site()
        documents = [queue_document(queue, site, signed_in(request)) for queue in site.queues()]
        return Response(QueueSerializer(documents, many=True).data)
