"""Orders of all tenants, in one table. No query of the app names a tenant: the database sees to that."""

from __future__ import annotations

from django.db import models
from django.db.models import Func, Value


class Order(models.Model):
    """An order; the transaction says whose it is, and a policy of the table that it stays so."""

    tenant = models.CharField(
        max_length=256,
        editable=False,
        db_default=Func(Value("app.tenant"), function="current_setting", output_field=models.CharField()),
    )
    owner = models.CharField(max_length=256)
    item = models.CharField(max_length=256)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.item
