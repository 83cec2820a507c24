"""Signing in, on django-allauth: its flows and tables, our words, pages, counts of tries and audit entries."""
