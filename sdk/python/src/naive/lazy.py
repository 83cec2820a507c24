"""Modules that are loaded when they are first used, so that `import naive` costs little.

The one way to do it in this library, and under TYPE_CHECKING the plain import stands beside it:

    if TYPE_CHECKING:
        import httpx
    else:
        httpx = lazy.module("httpx")
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class _Module(ModuleType):
    """Stands for a module until something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> ModuleType:
    """Return the module `name`, which is imported when one of its attributes is first looked at."""
    return _Module(name)
