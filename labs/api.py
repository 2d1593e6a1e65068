from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ReadOnlyModelViewSet, ViewSet

from labs.catalog import all_labs, get_lab
from labs.declaration import Lab
from labs.models import Artifact, Claim, MetricValue, Run
from labs.parameters import parameter_schema
from labs.queries import expected_seconds, own_run, visible_runs
from labs.services import run_cancel, run_request, run_submit, run_twin


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
    version = serializers.IntegerField()
    title = serializers.DictField(child=serializers.CharField())
    question = serializers.DictField(child=serializers.CharField())
    parameters = serializers.DictField()
    metrics = serializers.ListField(child=serializers.DictField())
    presets = serializers.DictField(child=serializers.DictField())


def lab_document(lab: Lab) -> dict[str, Any]:
    """A lab as the API and `list_labs` show it."""
    return {
        "slug": lab.slug,
        "version": lab.version,
        "title": lab.title.model_dump(),
        "question": lab.question.model_dump(),
        "parameters": parameter_schema(lab),
        "metrics": [asdict(metric) | {"title": metric.title.model_dump()} for metric in lab.metrics],
        "presets": {
            name: asdict(preset) | {"expected_seconds": expected_seconds(lab, name)}
            for name, preset in lab.presets.items()
        },
    }


class LabViewSet(ViewSet):
    lookup_field = "slug"
    lookup_value_converter = "slug"
    permission_classes = [AllowAny]

    @extend_schema(responses=LabSerializer(many=True))
    def list(self, request: Request) -> Response:
        return Response([lab_document(lab) for lab in all_labs().values()])

    @extend_schema(responses=LabSerializer)
    def retrieve(self, request: Request, slug: str) -> Response:
        if slug not in all_labs():
            raise NotFound(f"Unknown lab {slug!r}; allowed: {', '.join(all_labs())}")
        return Response(lab_document(get_lab(slug)))


class ArtifactSerializer(serializers.ModelSerializer):
    class Meta:
        model = Artifact
        fields = ["name", "size", "sha256"]


class RunSerializer(serializers.ModelSerializer):
    lab = serializers.CharField(source="lab_slug")
    percent = serializers.IntegerField()
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
            "status",
            "reason",
            "percent",
            "progress_note",
            "environment",
            "durations",
            "artifacts",
            "created_at",
            "started_at",
            "finished_at",
        ]
        read_only_fields = fields


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
