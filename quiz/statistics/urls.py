from django.urls import path

from quiz.statistics import item_views, parameter_views, views

urlpatterns = [
    path("", views.statistics, name="statistics"),
    path("parameters/", parameter_views.parameters, name="statistics-parameters"),
    path("parameters/live/", parameter_views.parameters_live, name="statistics-parameters-live"),
    path("parameters/fit/", parameter_views.optimise, name="statistics-optimise"),
    path("parameters/<int:optimisation_id>/apply/", parameter_views.apply, name="statistics-apply"),
    path("questions/", item_views.questions, name="statistics-questions"),
    path("questions.csv", item_views.questions_csv, name="statistics-questions-csv"),
    path("questions/<slug:slug>/", item_views.question, name="statistics-question"),
]
