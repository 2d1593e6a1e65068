"""The live preview of the editors: Markdown through the site's own renderer."""

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.utils.html import escape
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from kb.markup import MAX_SOURCE, Resolver


@staff_member_required
@require_POST
def preview(request: HttpRequest) -> HttpResponse:
    """The posted text as readers would see it; too long a text is refused before it reaches the parser."""
    text = request.POST.get("text", "")
    if len(text) > MAX_SOURCE:
        message = _("Too long: %(n)s characters; allowed: %(most)s.") % {"n": len(text), "most": MAX_SOURCE}
        return HttpResponse(escape(message), status=413)
    return HttpResponse(Resolver("zh" if request.POST.get("language") == "zh" else "en").html(text))
