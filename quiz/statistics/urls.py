from django.urls import path

from quiz.statistics import views

urlpatterns = [
    path("", views.statistics, name="statistics"),
]
