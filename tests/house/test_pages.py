"""The documentation holds together: blocks are run or say why not, links lead somewhere, all errors are told of."""

import itertools
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from naive import errors as sdk
from naive_platform import errors as platform
from tests import pages
from tests.pages import ROOT

# Parsed; what the block before it prints; a drawing, a formula, a message.
OTHERS = {"json", "output", "text"}
# Blocks that are shown and not run: what they would do to whoever runs the tests.
NOT_RUN = {
    ("README.md", "makes a clone"),
    ("README.md", "runs all tests"),
    ("docs/configuration.md", "belongs into the operator's own database"),
    ("docs/demo.md", "needs that database"),
    ("docs/demo.md", "takes twelve minutes"),
    ("docs/signing-in.md", "the operator's own commands"),
    ("docs/topups.md", "the operator's own command"),
    ("docs/webhooks.md", "starts servers"),
    ("sdk/python/README.md", "installs a package"),
    ("sdk/typescript/README.md", "installs a package"),
}
GUIDE = ROOT / "docs/guide"
ROW = re.compile(r"^\| (\d{3}) \| `(\w+)` \| (?:`(\w+)`)? ?\| \S", re.MULTILINE)
TYPESCRIPT_CLASS = re.compile(r"^  \[(\d{3}), (\w+)\],$", re.MULTILINE)

each_page = pytest.mark.parametrize("page", pages.pages(), ids=pages.name_of)


@each_page
def test_each_block_is_run_or_says_why_not(page: Path) -> None:
    for block in pages.blocks(page):
        where = f"{pages.name_of(page)}:{block.line}"
        if block.mark:
            reason = block.mark.removeprefix(pages.NOT_RUN)
            assert block.mark.startswith(pages.NOT_RUN), f"{where}: a mark is `{pages.NOT_RUN}<reason>`"
            assert (pages.name_of(page), reason) in NOT_RUN, f"{where}: {reason!r} is not listed in NOT_RUN"
        else:
            assert block.language in {*pages.RUN, *OTHERS}, f"{where}: nothing runs {block.language!r}"


def test_list_of_what_is_not_run_has_nothing_too_many() -> None:
    marked = {(pages.name_of(page), block.mark) for page in pages.pages() for block in pages.blocks(page)}
    assert {(page, f"{pages.NOT_RUN}{reason}") for page, reason in NOT_RUN} <= marked


@each_page
def test_output_follows_what_prints_it(page: Path) -> None:
    found = pages.blocks(page)
    for before, block in zip((None, *found), found, strict=False):
        if block.language == "output":
            where = f"{pages.name_of(page)}:{block.line}"
            assert before is not None, where
            assert before.language in pages.RUN, where
            assert not before.mark, where


@each_page
def test_json_is_json(page: Path) -> None:
    for block in pages.blocks(page):
        if block.language == "json":
            json.loads(block.text)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{pages.name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{pages.name_of(page)}: {link}"


def links(page: Path) -> list[str]:
    """The links of a page that lead to files of this repository."""
    found = [
        str(child.attrs["href"])
        for token in MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text())
        for child in token.children or ()
        if child.type == "link_open"
    ]
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links."""
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    titles = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_guide_lists_its_pages() -> None:
    listed = {link for link in links(GUIDE / "README.md") if "/" not in link}
    assert listed == {page.name for page in GUIDE.glob("*.md")} - {"README.md"}


def test_table_of_errors_is_whole() -> None:
    single = {value for value in vars(platform).values() if isinstance(value, tuple) and len(value) == 2}
    rows = ROW.findall((GUIDE / "errors.md").read_text())
    assert {(code, int(status)) for status, code, _ in rows} == {*platform.TABLE.values(), *single}


def test_table_of_errors_names_the_classes_of_both_languages() -> None:
    rows = ROW.findall((GUIDE / "errors.md").read_text())
    named = {int(status): name for status, _, name in rows if name}
    text = (ROOT / "sdk/typescript/src/statuses.ts").read_text()
    assert named == {status: kind.__name__ for status, kind in sdk.BY_STATUS.items()}
    assert named == {int(status): name for status, name in TYPESCRIPT_CLASS.findall(text)}
    assert {int(status) for status, _, name in rows if not name}.isdisjoint(named)
