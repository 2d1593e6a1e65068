"""A learner's own cards, from Anki decks and tables; nobody else sees them."""

import uuid

from django.conf import settings
from django.db import models


class OwnCard(models.Model):
    """Front and back are HTML, sanitised when they came in."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="own_cards")
    guid = models.CharField(max_length=64)  # what makes it the same card when a deck is imported again
    deck = models.CharField(max_length=200)
    front = models.TextField()
    back = models.TextField()
    tags = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["deck", "pk"]
        constraints = [models.UniqueConstraint(fields=["owner", "guid"], name="own_card_once")]

    def __str__(self) -> str:
        return f"Own card {self.pk} in {self.deck}"


class DeckImport(models.Model):
    """A file that was read and waits to be confirmed; afterwards what came of it."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="deck_imports")
    token = models.UUIDField(default=uuid.uuid4, unique=True)  # comes with the form: sent twice, read once
    name = models.CharField(max_length=200)  # of the file
    packed = models.BinaryField(default=bytes)  # the cards to come (quiz.anki.importing); emptied when it is finished
    report = models.JSONField(default=dict)  # how many cards are new, changed, the same …, and what was left out
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Import of {self.name}"
