from pathlib import Path

from django.apps import AppConfig
from django.db.models import Model
from django.utils.translation import gettext_lazy


class LabsConfig(AppConfig):
    name = "labs"

    def ready(self) -> None:
        from kb import renderings, search
        from kb.content import registry
        from kb.editing import dashboard
        from kb.markup import register_inline
        from labs import panels
        from labs.chips import VERDICT_TITLES, claim_chips
        from labs.models import Claim
        from labs.search_source import claim_documents, lab_documents
        from labs.services import evidence_code
        from labs.sources import CONTENT_TYPES, check_evidence

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        registry.folder_checks.append(check_evidence)
        registry.code_versions.append(evidence_code)
        registry.after_import.append(_import_evidence)
        registry.after_edit.append(_follow_edit)
        dashboard.panels += [panels.awaiting_claims, panels.untranslated_claims]
        search.facets.append((gettext_lazy("Verdict"), VERDICT_TITLES))
        search.sources |= {"claim": claim_documents, "lab": lab_documents}
        renderings.texts[Claim] = lambda claims: renderings.texts_of(claims, *Claim.TEXTS)
        register_inline("claim", claim_chips)


def _import_evidence(folder: Path) -> None:
    """Evidence first, because it decides the verdicts."""
    from labs.services import claims_recompute, evidence_import
    from labs.sources import link_points

    link_points()
    evidence_import(folder)
    claims_recompute()


def _follow_edit(row: Model) -> None:
    """What follows from an edit: which claims a point shows, and the verdict of a claim."""
    from kb.models import Point
    from kb.search import refresh_index
    from labs.models import Claim
    from labs.services import claims_recompute
    from labs.sources import link_points

    if isinstance(row, Point):
        link_points([row])
    elif isinstance(row, Claim):
        claims_recompute([row])
        refresh_index("claim", [row.slug])
