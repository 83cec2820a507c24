#!/usr/bin/env python3
"""Writes docs/reference/python.md from the sources: signatures, docstrings, and the comments on fields.

`make fix` runs it; a test fails where it is not what this would write.
"""

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src/naive"
PAGE = Path(__file__).parents[3] / "docs/reference/python.md"
HEAD = """\
# Python reference

What `import naive` has, from its docstrings; [the guide](../guide/README.md) shows it at work. `make fix` generates
this page.

`AsyncNaive` has everything that `Naive` has; there calls are awaited, and streams and lists are iterated over with
`async for`. `with_raw_response` before a method (`naive.llm.with_raw_response.chat(…)`) returns the HTTP answer, a
`RawResponse`. Beside its own parameters, every call takes those of [Options](#options).
"""
CLIENTS = {"Naive": "Naive", "AsyncNaive": "AsyncNaive", "Surface": "Naive and AsyncNaive"}
# Of each module the classes, and what they are called from.
RESOURCES = {
    "resources/llm": {"LLM": "naive.llm"},
    "resources/users": {"Users": "naive.users", "Sessions": "naive.users.sessions"},
    "resources/scoped": {"ForUser": "naive.for_user(id)"},
    "resources/account_kits": {"AccountKits": "naive.account_kits"},
    "resources/keys": {"Keys": "naive.keys"},
    "resources/billing": {"Billing": "naive.billing"},
    "resources/webhooks": {"Webhooks": "naive.webhooks"},
    "resources/audit": {"Audit": "naive.audit"},
    "resources/auth": {"Auth": "naive.auth"},
}
CLASSES = ("streaming", "paging", "responses", "testing/platform", "tools/toolset")
FUNCTIONS = ("webhooks",)
PARAMETERS = ("options", "params/chat", "params/tenants", "params/companies")
ANSWERS = (
    "types/model", "types/chat", "types/tenants", "types/accounts", "types/audit", "types/books", "types/endpoints",
)  # fmt: skip
# What a route's decorator makes of the request that its method returns.
ROUTES = {"Route": "{}", "ListRoute": "Page[{}]", "StreamRoute": "Stream"}
# In modules of answers and parameters, what is not for those who call.
NOT_PUBLIC = {"Settings", "read", "remember"}

type Function = ast.FunctionDef | ast.AsyncFunctionDef


def reference() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_sections()])


def _sections() -> Iterator[str]:
    yield from _calls()
    for module in CLASSES:
        for node in _classes(module):
            yield from _class(node)
    for module in FUNCTIONS:
        yield f"## {module}\n"
        for function in _tree(module).body:
            if isinstance(function, ast.FunctionDef) and _is_public(function.name):
                yield from _method(function, name=f"{module}.{function.name}")
    for title, modules in (("Parameters", PARAMETERS), ("Answers", ANSWERS)):
        yield f"## {title}\n"
        for module in modules:
            yield from _shapes(module)
    yield "## Errors\n"
    for node in _classes("errors"):
        yield from _class(node, level=3)


def _calls() -> Iterator[str]:
    """The clients, and every call that they make."""
    clients = {node.name: node for node in _classes("client")}
    for name, title in CLIENTS.items():
        yield from _class(clients[name], called="naive", title=title)
    for module, named in RESOURCES.items():
        for node in _classes(module):
            yield from _class(node, called=named[node.name], title=named[node.name])


def _tree(module: str) -> ast.Module:
    return ast.parse((SOURCES / f"{module}.py").read_text())


def _classes(module: str) -> Iterator[ast.ClassDef]:
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and _is_public(node.name):
            yield node


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in NOT_PUBLIC


def _class(node: ast.ClassDef, *, called: str = "", title: str = "", level: int = 2) -> Iterator[str]:
    """A class with its methods; `called` is what they are called from, where that is not its name."""
    bases = [ast.unparse(base) for base in node.bases]
    above = [base for base in bases if "[" not in base and _is_public(base) and base != "Exception"]
    yield f"{'#' * level} {title or node.name}{f' ({", ".join(above)})' if above else ''}\n"
    yield from _told(node)
    for member in node.body:
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            if _is_public(member.name):
                yield from _method(member, name=f"{called or node.name}.{member.name}")
            elif member.name == "__init__" and called:
                yield from _method(member, name=node.name)


def _method(node: Function, *, name: str) -> Iterator[str]:
    """A signature in bold, and what it says."""
    decorators = [ast.unparse(each) for each in node.decorator_list]
    returned = _returned(node, decorators)
    if "property" in decorators:
        yield f"**`{name}`**`: {returned}`\n"
    else:
        awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
        yield f"**`{awaited}{name}`**`({_arguments(node.args)})`{f' → `{returned}`' if returned else ''}\n"
    yield from _told(node)


def _returned(node: Function, decorators: list[str]) -> str:
    if node.returns is None or node.name == "__init__":
        return ""
    text = _plain(ast.unparse(node.returns))
    for decorator in decorators:
        if decorator in ROUTES:
            inner = re.fullmatch(r"(?:Request|Listing)\[(.*)\]", text)
            return ROUTES[decorator].format(inner[1] if inner else text)
    return "" if text == "None" else text


def _arguments(arguments: ast.arguments) -> str:
    text = re.sub(r"^self(?:, )?", "", ast.unparse(arguments))
    text = re.sub(r"\*\*given: Unpack\[(.*?)\]", r"**params: \1", text)
    return _plain(re.sub(r"(?<=[\w\]])=(?=\S)", " = ", text))


def _plain(text: str) -> str:
    """Annotations as readers know them: without the modules that they come from, and whose they are."""
    text = re.sub(
        r"\b(?:types|params|resources|toolset|builtins|options|httpx|errors)\.(?=[A-Za-z])", "", text
    )
    return re.sub(r"\[(?:M|Sync)\]", "", re.sub(r"\b_(?=[A-Z])", "", text))


def _told(node: ast.ClassDef | Function) -> Iterator[str]:
    """The docstring as Markdown: what is indented in it is an example."""
    told = ast.get_docstring(node)
    if told:
        yield (
            re.sub(
                r"((?:^ {4}.*\n?)+)",
                lambda found: f"```text\n{textwrap.dedent(found[1]).rstrip()}\n```\n",
                told,
                flags=re.MULTILINE,
            )
            + "\n"
        )


def _shapes(module: str) -> Iterator[str]:
    """Classes that are fields, each a table; and the names of types."""
    source = (SOURCES / f"{module}.py").read_text().splitlines()
    for node in _tree(module).body:
        if isinstance(node, ast.TypeAlias) and _is_public(node.name.id):
            yield f"### {node.name.id}\n\n`{_plain(ast.unparse(node.value))}`\n"
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and (node.name.startswith("_") or _is_public(node.name)):
            yield from _shape(node, source)


def _shape(node: ast.ClassDef, source: list[str]) -> Iterator[str]:
    bases = [ast.unparse(base) for base in node.bases]
    above = [base for base in bases if base not in {"TypedDict", "Model", "Options", "BaseModel"}]
    yield f"### {node.name.removeprefix('_')}\n"
    yield from _told(node)
    if above:
        yield f"With all of {', '.join(f'`{base.removeprefix("_")}`' for base in above)}.\n"
    rows = [_row(each, source) for each in node.body if isinstance(each, ast.AnnAssign)]
    rows = [row for row in rows if row]
    if rows:
        yield "\n".join(["| field | type | |", "|---|---|---|", *rows]) + "\n"
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and _is_public(member.name):
            yield from _method(member, name=f"{node.name.removeprefix('_')}.{member.name}")


def _row(field: ast.AnnAssign, source: list[str]) -> str:
    name = ast.unparse(field.target)
    if not _is_public(name):
        return ""
    kind = _plain(ast.unparse(field.annotation))
    required = re.fullmatch(r"Required\[(.*)\]", kind)
    said = _comment(field, source)
    notes = " ".join(part for part in ("required" if required else "", said) if part)
    kind = (required[1] if required else kind).replace("|", "\\|")
    return f"| `{name}` | `{kind}` | {notes} |"


def _comment(field: ast.AnnAssign, source: list[str]) -> str:
    """What the comment over a field says."""
    found: list[str] = []
    for line in reversed(source[: field.lineno - 1]):
        if not line.strip().startswith("# "):
            break
        found.insert(0, line.strip().removeprefix("# "))
    return " ".join(found)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else PAGE).write_text(reference())
