"""Tables in the admin: download, upload, see what would change, confirm."""

import hashlib
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from kb.content.registry import type_of
from kb.editing.admin import StatusAdmin
from kb.editing.tables import (
    MAX_BYTES,
    MAX_ERRORS,
    ItemChange,
    TableRefused,
    format_of,
    table_export,
    table_import,
    table_read,
)
from kb.models import PendingImport

# How long an upload waits to be confirmed.
PATIENCE = timedelta(days=1)


class TableForm(forms.Form):
    file = forms.FileField(label=gettext_lazy("CSV or JSONL file"))

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_BYTES:
            message = _("The file has %(n)s bytes; allowed: %(most)s.")
            raise forms.ValidationError(message % {"n": file.size, "most": MAX_BYTES})
        return file


def _seal(changes: list[ItemChange]) -> str:
    """What an editor has seen, in short."""
    return hashlib.sha256(repr(changes).encode()).hexdigest()


class TableAdmin(StatusAdmin):
    """Items that can be edited in a spreadsheet."""

    change_list_template = "admin/table_change_list.html"

    def get_urls(self) -> list[URLPattern]:
        name, view = f"{self.opts.app_label}_{self.opts.model_name}", self.admin_site.admin_view
        return [
            path("table/<str:form>/", view(self.export_view), name=f"{name}_export"),
            path("import/", view(self.upload_view), name=f"{name}_import"),
            path("import/<int:pk>/", view(self.confirm_view), name=f"{name}_confirm"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        tables = f"admin:{self.opts.app_label}_{self.opts.model_name}"
        return super().changelist_view(request, {**(extra_context or {}), "tables": tables})

    def export_view(self, request: HttpRequest, form: str) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        content_type = type_of(self.model)
        chosen = "jsonl" if form == "jsonl" else "csv"
        kind = "application/jsonl" if chosen == "jsonl" else "text/csv"
        headers = {"Content-Disposition": f'attachment; filename="{content_type.name}.{chosen}"'}
        return HttpResponse(table_export(content_type, chosen), f"{kind}; charset=utf-8", headers=headers)  # type: ignore[arg-type]

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        if not (self.has_change_permission(request) and self.has_add_permission(request)):
            raise PermissionDenied
        form = TableForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._page(request, {"form": form}, status=422 if form.is_bound else 200)
        PendingImport.objects.filter(created_at__lt=timezone.now() - PATIENCE).delete()
        file = form.cleaned_data["file"]
        kind = type_of(self.model).name
        pending = PendingImport(owner_id=request.user.pk, kind=kind, name=file.name[-200:], data=file.read())  # type: ignore[misc]
        try:
            self._changes(pending, dry_run=True)
        except TableRefused as e:
            return self._refusal(request, form, e)
        pending.save()
        return redirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_confirm", args=[pending.pk]))

    def confirm_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What the upload would change; with POST it does, unless that has become something else meanwhile."""
        if not (self.has_change_permission(request) and self.has_add_permission(request)):
            raise PermissionDenied
        mine = PendingImport.objects.filter(owner=request.user.pk, kind=type_of(self.model).name)
        pending = get_object_or_404(mine, pk=pk)
        try:
            changes = self._changes(pending, dry_run=True)
            is_seen = request.method == "POST" and request.POST.get("seal") == _seal(changes)
            if is_seen:
                self._changes(pending, dry_run=False)
        except TableRefused as e:
            return self._refusal(request, TableForm(), e)
        if not is_seen:
            is_other = request.method == "POST"
            return self._page(
                request, {"pending": pending, "changes": changes, "seal": _seal(changes), "other": is_other}
            )
        pending.delete()
        self.message_user(request, _("%(n)s items were changed.") % {"n": len(changes)}, messages.SUCCESS)
        return redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _changes(self, pending: PendingImport, *, dry_run: bool) -> list[ItemChange]:
        content_type = type_of(self.model)
        records = table_read(content_type, bytes(pending.data), format_of(pending.name))
        return table_import(content_type, records, user=pending.owner, dry_run=dry_run)

    def _refusal(self, request: HttpRequest, form: TableForm, refused: TableRefused) -> HttpResponse:
        errors, more = refused.errors[:MAX_ERRORS], len(refused.errors) - MAX_ERRORS
        return self._page(request, {"form": form, "errors": errors, "more": max(more, 0)}, status=422)

    def _page(self, request: HttpRequest, context: dict[str, Any], status: int = 200) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "title": _("Import a table"), "opts": self.opts}
        return render(request, "admin/table_import.html", shared | context, status=status)
