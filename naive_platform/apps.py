from django.apps import AppConfig
from django.core import checks

from naive_platform import boot


class NaivePlatformConfig(AppConfig):
    name = "naive_platform"

    def ready(self) -> None:
        checks.register(boot.check_login, checks.Tags.security, deploy=True)
