"""The committed OpenAPI document is the one that the code makes."""

from naive_platform.openapi import document


def test_committed_document_is_what_the_code_makes() -> None:
    """Where it fails: `manage.py openapi` writes it anew, and the difference is what clients will see."""
    assert document.FILE.read_text() == document.write(document.build())
