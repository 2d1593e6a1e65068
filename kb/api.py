from rest_framework.serializers import ModelSerializer, SlugRelatedField
from rest_framework.viewsets import ReadOnlyModelViewSet

from kb.models import Point, Topic
from kb.queries import published_points


class TopicSerializer(ModelSerializer):
    class Meta:
        model = Topic
        fields = ["slug", "position", "title_en", "title_zh", "summary_en", "summary_zh"]


class PointSerializer(ModelSerializer):
    topic: SlugRelatedField = SlugRelatedField("slug", read_only=True)
    prerequisites: SlugRelatedField = SlugRelatedField("slug", many=True, read_only=True)
    leads_to: SlugRelatedField = SlugRelatedField("slug", many=True, read_only=True)

    class Meta:
        model = Point
        fields = [
            "slug",
            "topic",
            "position",
            "title_en",
            "title_zh",
            *(f"{part}_{language}" for part in Point.PARTS for language in ("en", "zh")),
            "prerequisites",
            "leads_to",
            "covers",
        ]


class TopicViewSet(ReadOnlyModelViewSet):
    queryset = Topic.objects.all()
    serializer_class = TopicSerializer
    lookup_field = "slug"
    lookup_value_converter = "slug"


class PointViewSet(ReadOnlyModelViewSet):
    queryset = published_points().select_related("topic").prefetch_related("prerequisites", "leads_to")
    serializer_class = PointSerializer
    lookup_field = "slug"
    lookup_value_converter = "slug"
    filterset_fields = ["topic__slug"]
