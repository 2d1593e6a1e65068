from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework.serializers import ModelSerializer, SerializerMethodField, SlugRelatedField
from rest_framework.viewsets import ReadOnlyModelViewSet

from quiz.models import Question, RubricPoint
from quiz.queries import follow_up_tree, root_questions

TEXTS = [f"{field}_{language}" for field in ("prompt", "short", "answer", "mistakes") for language in ("en", "zh")]


class RubricPointSerializer(ModelSerializer):
    class Meta:
        model = RubricPoint
        fields = ["position", "weight", "dimension", "text_en", "text_zh", "terms_en", "terms_zh"]


class FollowUpSerializer(ModelSerializer):
    """A follow-up; `follows` is the slug of the question that it follows."""

    follows: SlugRelatedField = SlugRelatedField("slug", source="parent", read_only=True)
    claims: SlugRelatedField = SlugRelatedField("slug", many=True, read_only=True)
    rubric = RubricPointSerializer(many=True, read_only=True)

    class Meta:
        model = Question
        fields = ["slug", "follows", "kind", "difficulty", "when_en", "when_zh", *TEXTS, "rubric", "claims"]


class QuestionSerializer(ModelSerializer):
    """A question with the whole tree of its follow-ups, as a list from the root down."""

    topic: SlugRelatedField = SlugRelatedField("slug", read_only=True)
    points: SlugRelatedField = SlugRelatedField("slug", many=True, read_only=True)
    claims: SlugRelatedField = SlugRelatedField("slug", many=True, read_only=True)
    rubric = RubricPointSerializer(many=True, read_only=True)
    follow_ups = SerializerMethodField()

    class Meta:
        model = Question
        fields = ["slug", "topic", "kind", "difficulty", *TEXTS, "rubric", "points", "claims", "follow_ups", "covers"]

    @extend_schema_field(FollowUpSerializer(many=True))
    def get_follow_ups(self, question: Question) -> list[dict[str, Any]]:
        return FollowUpSerializer(follow_up_tree(question), many=True).data  # type: ignore[return-value]


class QuestionViewSet(ReadOnlyModelViewSet):
    queryset = root_questions().prefetch_related(
        "rubric", "points", "claims", "descendants__rubric", "descendants__claims", "descendants__parent"
    )
    serializer_class = QuestionSerializer
    lookup_field = "slug"
    lookup_value_converter = "slug"
    filterset_fields = ["topic__slug", "difficulty", "kind"]
