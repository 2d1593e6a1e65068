"""A learner's own cards, from Anki decks and tables; nobody else sees them."""

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
