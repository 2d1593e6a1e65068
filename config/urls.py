from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.urls import include, path
from django.views.i18n import set_language

from config import health
from config.login import LoginForm, login
from config.metrics import metrics
from kb.editing.preview import preview
from kb.editing.reports import report
from kb.urls import urlpatterns as kb_urls
from labs.urls import claim_urls, lab_urls, planner_urls, run_urls, worker_urls
from quiz.urls import attempt_urls, question_urls

admin.site.login_form = LoginForm

urlpatterns = [
    path("", include(kb_urls)),
    path("questions/", include(question_urls)),
    path("attempts/", include(attempt_urls)),
    path("review/", include("quiz.review.urls")),
    path("quizzes/", include("quiz.sittings.urls")),
    path("interviews/", include("quiz.interview.urls")),
    path("plan/", include("quiz.plan.urls")),
    path("statistics/", include("quiz.statistics.urls")),
    path("decks/", include("quiz.anki.urls")),
    path("labs/", include(lab_urls)),
    path("planner/", include(planner_urls)),
    path("runs/", include(run_urls)),
    path("workers/", include(worker_urls)),
    path("claims/", include(claim_urls)),
    path("report/<str:kind>/<slug:slug>/", report, name="kb-report"),
    path("api/v1/", include("config.api")),
    path("login/", login, name="login"),
    path("logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("language/", set_language, name="set_language"),
    path("admin/preview/", preview, name="kb-preview"),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
handler404 = "config.rest.handle_404"
