from django.urls import path

from quiz.interview import views

urlpatterns = [
    path("", views.interviews, name="quiz-interviews"),
    path("<int:sitting_id>/", views.interview, name="quiz-interview"),
    path("<int:sitting_id>/resume/", views.resume, name="quiz-interview-resume"),
    path("<int:sitting_id>/finish/", views.finish, name="quiz-interview-finish"),
    path("<int:sitting_id>/report/", views.report, name="quiz-interview-report"),
    path("<int:sitting_id>/review/", views.review, name="quiz-interview-review"),
    path("<int:sitting_id>/turns/<int:turn_id>/draft/", views.draft, name="quiz-interview-draft"),
    path("<int:sitting_id>/turns/<int:turn_id>/answer/", views.answer, name="quiz-interview-answer"),
    path("<int:sitting_id>/turns/<int:turn_id>/mark/", views.mark, name="quiz-interview-mark"),
    path("<int:sitting_id>/turns/<int:turn_id>/advice/", views.advice, name="quiz-interview-advice"),
]
