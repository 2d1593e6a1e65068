"""What the admin pages of all items share: checked forms, two editors, history with revert, drafts."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Field, Model, QuerySet
from django.forms import Field as FormField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from kb.content.registry import type_of
from kb.editing.checks import ItemRefused, is_retired
from kb.editing.forms import InlineForm, InlineFormSet, form_field
from kb.editing.services import item_revert, item_save, status_set
from kb.editing.versions import changes_between
from kb.models import Status, SyncedItem

VERSIONS_PER_PAGE = 25


class ItemAdmin(admin.ModelAdmin):
    """An item is saved as a whole: the form checks it, `item_save` writes it the way an import does."""

    save_on_top = True
    actions_selection_counter = True
    # Fields that are chosen once: addresses, files and links go by them.
    identity: tuple[str, ...] = ("slug",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Saving locks the row, so that of two editors one is the second."""
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_saving = request.method == "POST" and match and (match.url_name or "").endswith("_change")
        return rows.select_for_update(of=("self",)) if is_saving else rows

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        fixed = self.identity if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed)

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        """The version travels with every form, also where fieldsets are listed."""
        fieldsets = super().get_fieldsets(request, obj)
        if any("version" in options["fields"] for _name, options in fieldsets):
            return fieldsets
        (name, first), *others = fieldsets
        return [(name, {**first, "fields": [*first["fields"], "version"]}), *others]

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> FormField | None:
        return form_field(db_field) or super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_view_on_site_url(self, obj: Model | None = None) -> str | None:
        return obj.get_absolute_url() if obj and not is_retired(obj) else None  # type: ignore[attr-defined]

    # --- who may do what

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return super().has_change_permission(request, obj) and not (obj and is_retired(obj))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What the content files hold would come back with the next import; it is made a draft instead."""
        if obj and SyncedItem.objects.filter(kind=type_of(obj).name, key=getattr(obj, type_of(obj).key)).exists():
            return False
        return super().has_delete_permission(request, obj)

    # --- saving

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        """Tells the form its inlines before it is validated: an item is checked together with its parts."""
        formsets, inlines = super()._create_formsets(request, obj, change)  # type: ignore[misc]
        if form := getattr(obj, "edited_in", None):
            form.formsets = {formset.prefix: formset for formset in formsets}
        return formsets, inlines

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        item_save(obj, form.source, user=request.user, before=form.before)  # type: ignore[arg-type]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """`save_model` wrote the parts as well."""

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if add:
            return [{"added": {}}]
        parts = [formset.prefix for formset in formsets if formset.has_changed()]
        return [{"changed": {"fields": [*(name for name in form.changed_data if name != "version"), *parts]}}]

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        obj._history_user = request.user
        super().delete_model(request, obj)

    # --- history

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_revert"
        revert = self.admin_site.admin_view(self.revert_view)
        return [path("<path:object_id>/history/<int:version_id>/revert/", revert, name=name), *super().get_urls()]

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        row: Any = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        page = Paginator(row.history.select_related("history_user"), VERSIONS_PER_PAGE).get_page(request.GET.get("p"))
        versions = list(page)
        older = list(row.history.all()[page.end_index() : page.end_index() + 1])
        for version, before in zip(versions, [*versions[1:], *(older or [None])], strict=False):
            version.changes = changes_between(before.document, version.document) if before else []
        context = {
            **self.admin_site.each_context(request),
            "title": _("History of %(item)s") % {"item": row},
            "object": row,
            "opts": self.opts,
            "page": page,
            "versions": versions,
            "may_revert": self.has_change_permission(request, row),
            "revert_url": f"admin:{self.opts.app_label}_{self.opts.model_name}_revert",
        }
        return render(request, "admin/item_history.html", context)

    def revert_view(self, request: HttpRequest, object_id: str, version_id: int) -> HttpResponse:
        history = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[object_id])
        if request.method != "POST":
            return redirect(history)
        with transaction.atomic():
            row: Any = get_object_or_404(self.model._default_manager.select_for_update(), pk=unquote(object_id))
            if not self.has_change_permission(request, row):
                raise PermissionDenied
            version = get_object_or_404(row.history.exclude(history_type="-"), pk=version_id)
            try:
                item_revert(row, version, user=request.user)  # type: ignore[arg-type]
            except ItemRefused as e:
                for finding in e.findings:
                    self.message_user(request, str(finding), messages.ERROR)
            else:
                self.message_user(request, _("This is now what it was in that version."), messages.SUCCESS)
        return redirect(history)


class StatusAdmin(ItemAdmin):
    """Items that are drafts first, then in review, then published."""

    actions = ["send_to_review", "publish", "back_to_draft"]

    @admin.action(description=gettext_lazy("Send to review"), permissions=["change"])
    def send_to_review(self, request: HttpRequest, rows: QuerySet) -> None:
        self._set_status(request, rows, Status.REVIEW)

    @admin.action(description=gettext_lazy("Publish"), permissions=["change"])
    def publish(self, request: HttpRequest, rows: QuerySet) -> None:
        self._set_status(request, rows, Status.PUBLISHED)

    @admin.action(description=gettext_lazy("Back to draft"), permissions=["change"])
    def back_to_draft(self, request: HttpRequest, rows: QuerySet) -> None:
        self._set_status(request, rows, Status.DRAFT)

    def items_with_status(self, rows: QuerySet) -> QuerySet:
        """Those of the chosen rows that have a status of their own."""
        return rows.exclude(status=Status.RETIRED)

    def _set_status(self, request: HttpRequest, rows: QuerySet, status: Status) -> None:
        changed = status_set(self.items_with_status(rows), status, user=request.user)  # type: ignore[arg-type]
        message = ngettext("%(n)s item is now: %(status)s.", "%(n)s items are now: %(status)s.", changed)
        self.message_user(request, message % {"n": changed, "status": status.label}, messages.SUCCESS)


class PartInline(admin.StackedInline):
    """Parts of an item with a place of their own: rubric points, choices."""

    form = InlineForm
    formset = InlineFormSet
    extra = 0
    exclude = ["position"]

    def formfield_for_dbfield(self, db_field: Field, request: HttpRequest, **kwargs: Any) -> FormField | None:
        return form_field(db_field) or super().formfield_for_dbfield(db_field, request, **kwargs)
