from django.urls import path

from quiz.sittings import views

urlpatterns = [
    path("", views.sittings, name="quiz-sittings"),
    path("new/", views.new, name="quiz-sittings-new"),
    path("new/count/", views.count, name="quiz-sittings-count"),
    path("start/", views.start, name="quiz-sittings-start"),
    path("<int:sitting_id>/", views.quiz, name="quiz-quiz"),
    path("<int:sitting_id>/finish/", views.finish, name="quiz-sittings-finish"),
    path("<int:sitting_id>/review/", views.review, name="quiz-sittings-review"),
    path("<int:sitting_id>/again/", views.again, name="quiz-sittings-again"),
    path("<int:sitting_id>/turns/<int:turn_id>/", views.turn, name="quiz-sittings-turn"),
    path("<int:sitting_id>/turns/<int:turn_id>/answer/", views.answer, name="quiz-sittings-answer"),
    path("<int:sitting_id>/turns/<int:turn_id>/draft/", views.draft, name="quiz-sittings-draft"),
    path("<int:sitting_id>/turns/<int:turn_id>/mark/", views.mark, name="quiz-sittings-mark"),
]
