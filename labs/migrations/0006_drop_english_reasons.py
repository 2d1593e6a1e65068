from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("labs", "0005_keep_reasons")]
    operations = [
        migrations.RemoveField(model_name="run", name="reason"),
        migrations.RemoveField(model_name="run", name="progress_note"),
    ]
