from django.apps import AppConfig


class NaivePlatformConfig(AppConfig):
    name = "naive_platform"
