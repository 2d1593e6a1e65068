"""What of the claims waits for the editors."""

from django.urls import reverse
from django.utils.translation import gettext as _

from kb.editing.dashboard import Panel, panel, without_a_language
from labs.models import Claim


def untranslated_claims() -> Panel:
    fields = ("statement", "often_said", "note", "assumptions")
    return panel(_("Claims without a language"), without_a_language(Claim.objects.all(), fields))


def awaiting_claims() -> Panel:
    url = f"{reverse('admin:labs_claim_changelist')}?verdict__exact={Claim.AWAITING}"
    return panel(_("Claims awaiting evidence"), Claim.objects.filter(verdict=Claim.AWAITING), url)
