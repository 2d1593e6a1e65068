from django.urls import path

from labs import planner_views, views

lab_urls = [
    path("", views.labs, name="labs-labs"),
    path("<slug:slug>/", views.lab, name="labs-lab"),
    path("<slug:slug>/submit/", views.submit, name="labs-submit"),
]
run_urls = [
    path("", views.runs, name="labs-runs"),
    path("compare/", views.compare, name="labs-compare"),
    path("<int:run_id>/", views.run, name="labs-run"),
    path("<int:run_id>/progress/", views.progress, name="labs-progress"),
    path("<int:run_id>/cancel/", views.cancel, name="labs-cancel"),
    path("<int:run_id>/export.<slug:form>", views.export, name="labs-export"),
    path("<int:run_id>/artifacts/<str:name>/", views.artifact, name="labs-artifact"),
]
claim_urls = [
    path("", views.claims, name="labs-claims"),
    path("<slug:slug>/", views.claim, name="labs-claim"),
    path("<slug:slug>/card/", views.claim_card, name="labs-claim-card"),
]
worker_urls = [path("", views.workers, name="labs-workers")]
planner_urls = [
    path("", planner_views.page, name="labs-planner"),
    path("simulate/", planner_views.simulate, name="labs-planner-simulate"),
]
