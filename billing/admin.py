"""The books' rows for the operator, to look at: functions alone write them."""

from django.apps import apps

from accounts import raw_rows

raw_rows.register(apps.get_app_config("billing").get_models())
