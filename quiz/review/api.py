"""The review for integrators: what is left of today, the next card, and its grade."""

from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from labs.api import signed_in
from quiz.asking import ask
from quiz.forms import fresh_token
from quiz.models import Card
from quiz.review import services
from quiz.review.queries import card_for_user
from quiz.review.queue import Queue
from quiz.review.states import CardState

MAX_ID = 2**63 - 1  # of a row


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT


class CountsSerializer(serializers.Serializer):
    """What is left of the learner's day, within its limits."""

    learning = serializers.IntegerField()
    review = serializers.IntegerField()
    new = serializers.IntegerField()


class CardSerializer(serializers.ModelSerializer):
    """A card as its log gives it; days, except for times."""

    state = serializers.CharField(source="get_state_display")
    question: serializers.SlugRelatedField = serializers.SlugRelatedField("slug", read_only=True)

    class Meta:
        model = Card
        fields = [
            "id",
            "question",
            "own_card",
            "state",
            "due",
            "stability",
            "difficulty",
            "last_review",
            "reviews",
            "lapses",
            "is_suspended",
        ]
        read_only_fields = fields


class AskedCardSerializer(serializers.Serializer):
    """The card that comes next, with texts in Markdown (of an own card, HTML); `token` and `seen` go into its grade."""

    card = CardSerializer()
    token = serializers.UUIDField()
    seen = serializers.CharField()
    front = serializers.DictField(child=serializers.CharField())
    back = serializers.DictField(child=serializers.CharField())


class GradeSerializer(serializers.Serializer):
    """Sent twice with one token, it counts once."""

    card = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    rating = serializers.IntegerField(min_value=1, max_value=4, help_text="1 again, 2 hard, 3 good, 4 easy")
    token = serializers.UUIDField()
    seen = serializers.CharField(max_length=16, required=False, default=None, allow_null=True)
    milliseconds = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False, default=0)


def _texts(card: Card, token: str) -> dict[str, Any]:
    """Front and back in both languages; a parametric question has its numbers drawn by the token."""
    if card.question is None:
        own = card.own_card
        return {"front": {"en": own.front, "zh": own.front}, "back": {"en": own.back, "zh": own.back}} if own else {}
    question = ask(card.question, token).question
    return {
        "front": {"en": question.prompt_en, "zh": question.prompt_zh},
        "back": {"en": question.answer_en, "zh": question.answer_zh},
    }


class ReviewViewSet(ViewSet):
    permission_classes = [IsAuthenticated]

    @extend_schema(operation_id="review_counts", responses=CountsSerializer)
    @action(detail=False)
    def counts(self, request: Request) -> Response:
        """What is left of today."""
        user = signed_in(request)
        services.cards_sync(user)
        return Response(CountsSerializer(Queue(services.study_settings(user)).counts).data)

    @extend_schema(
        operation_id="review_next",
        responses={200: AskedCardSerializer, 204: OpenApiResponse(description="Nothing is left for now.")},
    )
    @action(detail=False)
    def next(self, request: Request) -> Response:
        """The card that is asked next."""
        card = Queue(services.study_settings(signed_in(request))).next()
        if card is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        token = fresh_token()
        shown = {"card": card, "token": token, "seen": CardState.of(card).digest(), **_texts(card, token)}
        return Response(AskedCardSerializer(shown).data)

    @extend_schema(operation_id="review_grade", request=GradeSerializer, responses=CardSerializer)
    @action(detail=False, methods=["post"])
    def grade(self, request: Request) -> Response:
        """Grade a card; 409 when it changed since it was seen, or when the token was used for another one."""
        sent = GradeSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        given = sent.validated_data
        try:
            card = card_for_user(signed_in(request), given.pop("card"))
            graded = services.card_grade(card=card, **given)
        except (services.StaleCard, services.NotYourToken) as e:
            raise Conflict(str(e)) from e
        return Response(CardSerializer(graded).data)
