"""The blocks of code in the documentation: which pages have them, and one program of each page for each language.

A reader follows a page in one language from its beginning to its end, so its blocks in that language are one program.
CONTRIBUTING.md, "Blocks of code", says how they are marked. `python -m tests.pages` writes the programs that are typed.
"""

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
RUN = ("sh", "python", "ts")
# Beside the language of a block that is not run, and then the reason.
NOT_RUN = "not-run: "
# Where programs are written. TypeScript's are beside the package that they import.
FOLDERS = {"python": ROOT / "build/docs", "ts": ROOT / "sdk/typescript/samples"}
SUFFIXES = {"sh": "sh", "python": "py", "ts": "ts"}
# What ends a block's output; after it stands how many of the block's commands failed.
END = "\x1e"
AFTER_BLOCK = {
    "sh": "printf '\\x1e %s\\n' \"$failures\"; failures=0\n",
    "python": f"print({json.dumps(END)}, 0)\n",
    "ts": f"console.log({json.dumps(END)}, 0);\n",
}
# Any command of a block that fails counts, not only its last.
SHELL_HEAD = "set -uE -o pipefail; failures=0; trap 'failures=$((failures + 1))' ERR\n"


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its language, what else stands beside the language, its text and the line that it begins at."""

    language: str
    mark: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Step:
    """A block that is run, and what the page says that it prints."""

    block: Block
    output: str | None

    @property
    def shows_an_error(self) -> bool:
        return self.block.language == "sh" and self.output is not None and '"error":' in self.output


def pages() -> list[Path]:
    """Every page of the documentation."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("sdk/*/README.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(found)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@functools.cache
def blocks(page: Path) -> tuple[Block, ...]:
    """The blocks of a page in their order; one that is only indented has no language."""
    found = []
    for token in MarkdownIt("commonmark").parse(page.read_text()):
        if token.type in ("fence", "code_block"):
            language, _, mark = token.info.strip().partition(" ")
            line = token.map[0] + 1 if token.map else 0
            found.append(Block(language, mark.strip(), token.content, line))
    return tuple(found)


def steps(page: Path, language: str) -> list[Step]:
    """What a reader of one language runs on a page."""
    found = blocks(page)
    return [
        Step(block, after.text if after is not None and after.language == "output" else None)
        for block, after in zip(found, [*found[1:], None], strict=False)
        if block.language == language and not block.mark
    ]


def programs(language: str) -> list[Path]:
    """The pages that have a program in a language."""
    return [page for page in pages() if steps(page, language)]


def program(page: Path, language: str) -> str:
    """A page's blocks in one language as one program, which says where each of them ends."""
    told = "\n".join(f"{step.block.text}\n{AFTER_BLOCK[language]}" for step in steps(page, language))
    return SHELL_HEAD + told if language == "sh" else told


def file_of(page: Path, language: str) -> Path:
    """Where a page's program is written."""
    name = re.sub(r"[^a-z0-9]+", "_", name_of(page).removesuffix(".md").lower())
    return FOLDERS[language] / f"{name}.{SUFFIXES[language]}"


def write(language: str) -> Path:
    """Write all programs of a language anew, and return their folder."""
    folder = FOLDERS[language]
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"*.{SUFFIXES[language]}"):
        old.unlink()
    for page in programs(language):
        file_of(page, language).write_text(program(page, language))
    return folder


if __name__ == "__main__":
    write("python")
