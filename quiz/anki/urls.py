from django.urls import path

from quiz.anki import views

urlpatterns = [
    path("", views.decks, name="decks"),
    path("export/", views.export, name="decks-export"),
    path("import/", views.upload, name="decks-import"),
    path("imports/<int:import_id>/", views.preview, name="decks-preview"),
    path("imports/<int:import_id>/confirm/", views.confirm, name="decks-confirm"),
    path("imports/<int:import_id>/discard/", views.discard, name="decks-discard"),
    path("own/", views.own_deck, name="decks-own"),
    path("own/rename/", views.rename, name="decks-rename"),
    path("own/delete/", views.delete_deck, name="decks-delete"),
    path("cards/<int:card_id>/", views.card, name="decks-card"),
    path("cards/<int:card_id>/delete/", views.delete_card, name="decks-card-delete"),
]
