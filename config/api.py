"""The REST API at /api/v1/: read everything, submit and follow runs. Pages and API share queries and services."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.authtoken.views import ObtainAuthToken
from rest_framework.routers import DefaultRouter

from config.login import LoginThrottle
from kb.api import PointViewSet, TopicViewSet
from labs.api import ClaimViewSet, LabViewSet, QueueViewSet, RunViewSet, WorkerViewSet
from quiz.api import QuestionViewSet
from quiz.review.api import ReviewViewSet


class TokenView(ObtainAuthToken):
    """Exchange user name and password for a token: `Authorization: Token …`."""

    throttle_classes = [LoginThrottle]


router = DefaultRouter(use_regex_path=False)
router.include_format_suffixes = False
router.register("topics", TopicViewSet, basename="topic")
router.register("points", PointViewSet, basename="point")
router.register("questions", QuestionViewSet, basename="question")
router.register("claims", ClaimViewSet, basename="claim")
router.register("labs", LabViewSet, basename="lab")
router.register("runs", RunViewSet, basename="run")
router.register("review", ReviewViewSet, basename="review")
router.register("workers", WorkerViewSet, basename="worker")
router.register("queues", QueueViewSet, basename="queue")

urlpatterns = [
    path("token/", TokenView.as_view(), name="api-token"),
    path("schema/", SpectacularAPIView.as_view(), name="api-schema"),
    path("", include(router.urls)),
]
