"""The table, and the policy that keeps tenants apart in it."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models
from django.db.models import Func, Value

# FORCE, because the role that migrates is often the one that serves, and a table's owner is exempt otherwise.
# A tenant that is not set is NULL or, on a connection that has had one, empty: either way nothing matches.
KEEP_TENANTS_APART = """
ALTER TABLE orders_order ENABLE ROW LEVEL SECURITY;
ALTER TABLE orders_order FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON orders_order
    USING (tenant = nullif(current_setting('app.tenant', true), ''))
    WITH CHECK (tenant = nullif(current_setting('app.tenant', true), ''));
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "tenant",
                    models.CharField(
                        max_length=256,
                        editable=False,
                        db_default=Func(
                            Value("app.tenant"), function="current_setting", output_field=models.CharField()
                        ),
                    ),
                ),
                ("owner", models.CharField(max_length=256)),
                ("item", models.CharField(max_length=256)),
            ],
            options={"ordering": ("id",)},
        ),
        migrations.RunSQL(KEEP_TENANTS_APART, migrations.RunSQL.noop),
    ]
