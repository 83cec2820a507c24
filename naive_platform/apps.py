from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.core import checks

from naive_platform import boot


class NaivePlatformConfig(AppConfig):
    name = "naive_platform"

    def ready(self) -> None:
        checks.register(boot.check_login, checks.Tags.security, deploy=True)
        checks.register(boot.check_mail, checks.Tags.mail, deploy=True)


class OperatorAdminConfig(admin.AdminConfig):
    """The admin, on a site that knows who acts."""

    default = False
    default_site = "naive_platform.operator.admin_site.ConsoleSite"
