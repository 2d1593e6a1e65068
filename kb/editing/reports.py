"""Readers report errors; editors find them in a queue."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods
from rest_framework.throttling import SimpleRateThrottle

from kb.content.registry import content_types
from kb.models import ErrorReport, Status
from kb.text import active_language

KINDS = ("point", "question", "claim")


class ReportThrottle(SimpleRateThrottle):
    """So many reports an hour by one reader; by address where nobody is signed in."""

    scope = "report"

    def get_cache_key(self, request: Any, view: Any) -> str:
        ident = f"user-{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return self.cache_format % {"scope": self.scope, "ident": ident}


class ReportForm(forms.ModelForm):
    text = forms.CharField(
        label=gettext_lazy("What is wrong?"),
        help_text=gettext_lazy("The sentence or number that is wrong, and how you know."),
        max_length=ErrorReport.MAX_TEXT,
        widget=forms.Textarea({"rows": 6}),
    )

    class Meta:
        model = ErrorReport
        fields = ["text"]


def _reported_item(kind: str, slug: str) -> Model:
    """The item that readers can see under this name, or Http404."""
    content_type = next((t for t in content_types() if t.kind == kind and kind in KINDS), None)
    if content_type is None:
        raise Http404(f"Nothing of kind {kind!r} can be reported")
    rows = content_type.model._default_manager.all()
    if any(field.name == "status" for field in content_type.model._meta.fields):
        rows = rows.filter(status=Status.PUBLISHED)
    return get_object_or_404(rows, **{content_type.key: slug})


@require_http_methods(["GET", "HEAD", "POST"])
def report(request: HttpRequest, kind: str, slug: str) -> HttpResponse:
    """A short form; what was typed stays in it whatever goes wrong."""
    item: Any = _reported_item(kind, slug)
    form = ReportForm(request.POST or None)
    status = 200
    if request.method == "POST" and not form.is_valid():
        status = 422
    elif request.method == "POST" and not ReportThrottle().allow_request(request, None):  # type: ignore[arg-type]
        form.add_error(None, _("You have reported a lot in the last hour. Your text is still here: try again later."))
        status = 429
    elif request.method == "POST":
        _keep(request, form.save(commit=False), kind, item)
        messages.success(request, _("Thank you. The editors will look at it."))
        return redirect(item.get_absolute_url())
    context = {"form": form, "item": item, "slug": slug, "most": ErrorReport.MAX_TEXT}
    return render(request, "kb/report.html", context, status=status)


def _keep(request: HttpRequest, found: ErrorReport, kind: str, item: Any) -> None:
    found.kind, found.slug, found.url = kind, item.slug, item.get_absolute_url()
    found.language = active_language()
    found.reporter = request.user if request.user.is_authenticated else None
    found.save()
