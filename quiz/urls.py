from django.urls import path

from quiz import views

question_urls = [
    path("", views.questions, name="quiz-questions"),
    path("<slug:slug>/", views.question, name="quiz-question"),
    path("<slug:slug>/answer/", views.answer, name="quiz-answer"),
    path("<slug:slug>/reveal/", views.reveal, name="quiz-reveal"),
]
attempt_urls = [
    path("<int:attempt_id>/", views.attempt, name="quiz-attempt"),
    path("<int:attempt_id>/grade/", views.grade, name="quiz-grade"),
]
