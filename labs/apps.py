from pathlib import Path

from django.apps import AppConfig


class LabsConfig(AppConfig):
    name = "labs"

    def ready(self) -> None:
        from kb import search
        from kb.content import registry
        from kb.markup import register_inline
        from labs.chips import claim_chips
        from labs.search_source import claim_documents, lab_documents
        from labs.services import evidence_code
        from labs.sources import CONTENT_TYPES, check_evidence

        for content_type in CONTENT_TYPES:
            registry.register(content_type)
        registry.folder_checks.append(check_evidence)
        registry.code_versions.append(evidence_code)
        registry.after_import.append(_import_evidence)
        search.sources += [claim_documents, lab_documents]
        register_inline("claim", claim_chips)


def _import_evidence(folder: Path) -> None:
    """Evidence first, because it decides the verdicts."""
    from labs.services import claims_recompute, evidence_import

    evidence_import(folder)
    claims_recompute()
