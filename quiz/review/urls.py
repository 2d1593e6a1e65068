from django.urls import path

from quiz.review import card_views, views

urlpatterns = [
    path("", views.home, name="review-home"),
    path("study/", views.study, name="review-study"),
    path("extra/", views.extra, name="review-extra"),
    path("undo/", views.undo, name="review-undo"),
    path("settings/", views.settings, name="review-settings"),
    path("settings/rescheduling/", views.rescheduling, name="review-rescheduling"),
    path("cards/", card_views.cards, name="review-cards"),
    path("cards/<int:card_id>/", card_views.card, name="review-card"),
    path("cards/<int:card_id>/answer/", views.answer, name="review-answer"),
    path("cards/<int:card_id>/grade/", views.grade, name="review-grade"),
    path("cards/<int:card_id>/due/", card_views.due, name="review-due"),
    path("cards/<int:card_id>/do/<slug:name>/", views.action, name="review-action"),
]
