"""Topics, references and knowledge points."""

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from kb.history import ItemHistory


class Status(models.TextChoices):
    """How far an item is. Readers see what is published; retired items are kept for what learners did with them."""

    DRAFT = "draft", _("draft")
    REVIEW = "review", _("in review")
    PUBLISHED = "published", _("published")
    RETIRED = "retired", _("retired")


class Topic(models.Model):
    slug = models.SlugField(max_length=80, unique=True)
    position = models.PositiveIntegerField(default=0)
    title_en = models.CharField(max_length=200, blank=True)
    title_zh = models.CharField(max_length=200, blank=True)
    summary_en = models.TextField(blank=True)
    summary_zh = models.TextField(blank=True)

    history = ItemHistory()

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.title_en or self.slug

    def get_absolute_url(self) -> str:
        return reverse("kb-topic", args=[self.slug])


class Reference(models.Model):
    """A work that texts cite as `[@key]`."""

    key = models.SlugField(max_length=80, unique=True)
    title = models.CharField(max_length=300)
    authors = models.CharField(max_length=500)
    year = models.PositiveSmallIntegerField()
    venue = models.CharField(max_length=200, blank=True)
    arxiv = models.CharField(max_length=20, blank=True)
    doi = models.CharField(max_length=200, blank=True)
    url = models.URLField(max_length=500, blank=True)

    history = ItemHistory()

    class Meta:
        ordering = ["key"]

    def __str__(self) -> str:
        return f"{self.key}: {self.title}"

    def get_absolute_url(self) -> str:
        return f"{reverse('kb-references')}#{self.key}"

    def link(self) -> str:
        """Where the work can be read; empty when only its name is known."""
        if self.url:
            return self.url
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else ""


class Point(models.Model):
    """A knowledge point. Every text but the title is Markdown."""

    # The parts of a point in reading order.
    PARTS = ("definition", "mechanism", "practice", "mistake", "example")

    slug = models.SlugField(max_length=80, unique=True)
    topic = models.ForeignKey(Topic, models.PROTECT, related_name="points")
    position = models.PositiveIntegerField(default=0)
    title_en = models.CharField(max_length=200, blank=True)
    title_zh = models.CharField(max_length=200, blank=True)
    definition_en = models.TextField(blank=True)
    definition_zh = models.TextField(blank=True)
    mechanism_en = models.TextField(blank=True)
    mechanism_zh = models.TextField(blank=True)
    practice_en = models.TextField(blank=True)
    practice_zh = models.TextField(blank=True)
    mistake_en = models.TextField(blank=True)
    mistake_zh = models.TextField(blank=True)
    example_en = models.TextField(blank=True)
    example_zh = models.TextField(blank=True)
    prerequisites = models.ManyToManyField("self", symmetrical=False, related_name="leads_to", blank=True)
    covers = models.JSONField(default=list, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PUBLISHED)

    history = ItemHistory()

    class Meta:
        ordering = ["topic__position", "position", "slug"]

    def __str__(self) -> str:
        return self.title_en or self.slug

    def get_absolute_url(self) -> str:
        return reverse("kb-point", args=[self.slug])


class SearchDocument(models.Model):
    """One item in one language, ready to be searched (kb.search). Derived: `rebuild_search` makes it anew.

    The engines' own indexes are made in a migration: an FTS5 table on SQLite, a generated tsvector on PostgreSQL.
    """

    kind = models.CharField(max_length=20)
    slug = models.CharField(max_length=80)
    language = models.CharField(max_length=2)
    url = models.CharField(max_length=200)
    topic = models.CharField(max_length=80, blank=True)
    difficulty = models.PositiveSmallIntegerField(null=True, blank=True)
    facet = models.CharField(max_length=20, blank=True)
    title = models.TextField()
    body = models.TextField()
    title_words = models.TextField()
    body_words = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "slug", "language"], name="search_document_once")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.slug} ({self.language})"


class Rendering(models.Model):
    """A text of the content as HTML (kb.renderings). Derived."""

    digest = models.CharField(max_length=64, primary_key=True)  # of the Markdown and of the renderer (kb.markup)
    html = models.TextField()

    def __str__(self) -> str:
        return self.digest


class SyncedItem(models.Model):
    """The version of an item on which the content files and this site last agreed."""

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=80)
    digest = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="synced_item_once")]

    def __str__(self) -> str:
        return f"{self.kind}/{self.key}"


class ContentImport(models.Model):
    """One import of `content/`; an unchanged tree is recognised by its digest."""

    digest = models.CharField(max_length=64)
    counts = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M} {self.digest[:12]}"


class ErrorReport(models.Model):
    """What a reader says is wrong with an item; it waits in the editors' queue."""

    MAX_TEXT = 2000  # characters

    OPEN, FIXED, DISMISSED = "open", "fixed", "dismissed"
    STATES = [(OPEN, _("open")), (FIXED, _("fixed")), (DISMISSED, _("dismissed"))]

    kind = models.CharField(max_length=20)  # point, question, claim
    slug = models.CharField(max_length=80)
    url = models.CharField(max_length=200)
    language = models.CharField(max_length=2)
    text = models.TextField()
    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    status = models.CharField(max_length=10, choices=STATES, default=OPEN)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.kind}/{self.slug}: {self.text[:60]}"


class PendingImport(models.Model):
    """A table that an editor uploaded and has seen the effect of, until it is confirmed."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    kind = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    data = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name
