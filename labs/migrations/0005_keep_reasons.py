from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def keep_reasons(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Reasons written as English text become notes in somebody's own words."""
    Run = apps.get_model("labs", "Run")
    for run in Run.objects.exclude(reason=""):
        run.reason_code, run.reason_args = "own", {"en": run.reason}
        run.save(update_fields=["reason_code", "reason_args"])


class Migration(migrations.Migration):
    dependencies = [("labs", "0004_run_life")]
    operations = [migrations.RunPython(keep_reasons, migrations.RunPython.noop)]
