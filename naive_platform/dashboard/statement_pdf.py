"""A month's statement as PDF: the same month, the same bytes; no network, and names in whatever letters they have."""

import bisect
import functools
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from fpdf import FPDF, XPos, YPos
from fpdf.fonts import TTFFont

from accounts.models import Company
from billing import money
from billing.entries import Month
from billing.usage import Usage
from naive_platform.dashboard.ledger_filters import ACTIONS

# For texts that the PDF's own fonts have no letters for: Latin, Greek, Cyrillic, Armenian, Georgian, Arabic, Hebrew.
FONT_FILE = settings.BASE_DIR / "static" / "vendor" / "dejavu" / "DejaVuSans-2.37.ttf"
_OWN, _WIDE = "Helvetica", "DejaVu"
# Unit: mm, of a page of 210 with margins of 20.
_MARGIN, _LINE, _WIDTH = 20, 6.5, 170
_INK, _SOFT, _RULE = 26, 100, 215
MODELS_SHOWN = 200


def write(*, company: Company, month: Month, models: Sequence[Usage], as_of: datetime) -> bytes:
    """The whole file. Shape: A4; the rules of figures.credits: every digit is there, none is rounded."""
    pdf = _Sheet()
    # What the file says of itself is of the month, so that nothing in it depends on when it was asked for.
    pdf.set_creation_date(as_of)
    pdf.set_title(f"Statement {month.starts_at:%Y-%m}")
    pdf.set_producer("Naive")
    pdf.add_page()
    pdf.heading("Statement", size=18)
    pdf.line_of([company.name], size=12)
    pdf.line_of([f"{company.slug} · {company.id}"], soft=True)
    until = f"{month.ends_at:%-d %B %Y}" if month.is_closed else f"{as_of:%-d %B %Y %H:%M:%S}"
    pdf.line_of([f"{month.starts_at:%-d %B %Y} to {until} (UTC), in credits"], soft=True)
    pdf.ln(_LINE)
    pdf.row(["Opening balance", "", _credits(month.opening_nanocredits)], _THREE)
    for line in month.sums:
        pdf.row([ACTIONS[line.action], f"{line.count:,}", _credits(line.amount_nanocredits)], _THREE)
    pdf.row(["Closing balance", "", _credits(month.closing_nanocredits)], _THREE, is_strong=True)
    pdf.ln(_LINE)
    pdf.heading("Usage by model", size=12)
    pdf.row(["Model", "Calls", "Upstream cost, USD", "Credits"], _FOUR, is_strong=True)
    for one in models[:MODELS_SHOWN]:
        cost = _plain(one.cost_usd)
        pdf.row([str(one.group), f"{one.calls:,}", cost, _credits(one.charged_nanocredits)], _FOUR)
    beyond = len(models) - MODELS_SHOWN
    if beyond > 0:
        pdf.line_of([f"{beyond} more models are in the CSV."], soft=True)
    if not models:
        pdf.line_of(["No call was settled in this month."], soft=True)
    try:
        return bytes(pdf.output())
    finally:
        _close(pdf)


# Widths of the columns in mm; all but the first hold numbers.
_THREE = (90, 25, 55)
_FOUR = (68, 18, 42, 42)


class _Sheet(FPDF):
    """A page of lines and rows, in the PDF's own font as long as it has the letters."""

    def __init__(self) -> None:
        super().__init__(unit="mm", format="A4")
        self.set_margin(_MARGIN)
        self.set_auto_page_break(True, margin=_MARGIN)
        self.set_draw_color(_RULE)

    def heading(self, text: str, *, size: float) -> None:
        self._put(text, size=size, is_strong=True, width=_WIDTH, is_last=True)
        self.ln(1)

    def line_of(self, texts: Sequence[str], *, size: float = 9, soft: bool = False) -> None:
        for text in texts:
            self._put(text, size=size, soft=soft, width=_WIDTH, is_last=True)

    def row(self, texts: Sequence[str], widths: Sequence[int], *, is_strong: bool = False) -> None:
        """One line of a table, above it a rule; numbers stand on the right."""
        if self.will_page_break(_LINE):
            self.add_page()
        y = self.get_y()
        self.line(_MARGIN, y, _MARGIN + _WIDTH, y)
        for place, (text, width) in enumerate(zip(texts, widths, strict=True)):
            is_last = place == len(texts) - 1
            self._put(text, width=width, is_strong=is_strong, align="R" if place else "L", is_last=is_last)

    def footer(self) -> None:
        self.set_y(-_MARGIN + 5)
        self._put(f"Page {self.page_no()}", soft=True, width=_WIDTH, align="R", is_last=True)

    def _put(
        self,
        text: str,
        *,
        width: float,
        size: float = 9,
        is_strong: bool = False,
        soft: bool = False,
        align: str = "L",
        is_last: bool = False,
    ) -> None:
        self.set_text_color(_SOFT if soft else _INK)
        shown = text
        if _is_latin(text):
            self.set_font(_OWN, "B" if is_strong else "", size)
        else:
            self._widen(size)
            shown = "".join(
                letter if ord(letter) in _letters() else f"[U+{ord(letter):04X}]" for letter in text
            )
        shown = self._fitted(shown, width)
        following = (XPos.LMARGIN, YPos.NEXT) if is_last else (XPos.RIGHT, YPos.TOP)
        self.cell(width, _LINE * max(size / 9, 1), shown, align=align, new_x=following[0], new_y=following[1])

    def _widen(self, size: float) -> None:
        if _WIDE.lower() not in self.fonts:
            self.add_font(_WIDE, "", FONT_FILE)
        self.set_font(_WIDE, "", size)

    def _fitted(self, text: str, width: float) -> str:
        """The text, cut where its column ends; a number is never wider than its column."""
        room = width - 2 * self.c_margin
        if self.get_string_width(text) <= room:
            return text
        # A name of the wide font may be 1,600 letters by now, each measured slowly: half of what is left at a time.
        letters = range(1, len(text) + 1)
        fitting = bisect.bisect_left(
            letters, x=True, key=lambda count: self.get_string_width(text[:count] + "...") > room
        )
        return text[:fitting] + "..."


@functools.cache
def _letters() -> frozenset[int]:
    """The code points that the wide font has."""
    found = FPDF()
    found.add_font(_WIDE, "", FONT_FILE)
    font = found.fonts[_WIDE.lower()]
    letters = frozenset(font.cmap) if isinstance(font, TTFFont) else frozenset()
    _close(found)
    return letters


def _close(pdf: FPDF) -> None:
    """Give back the files of its fonts, which fpdf2 leaves open."""
    for font in pdf.fonts.values():
        if isinstance(font, TTFFont):
            font.ttfont.close()


def _is_latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _credits(nanocredits: int) -> str:
    """Credits to the last digit, thousands apart: `-1,019.5`."""
    number = money.json_number(nanocredits)
    whole, point, decimals = number.removeprefix("-").partition(".")
    return f"{'-' if nanocredits < 0 else ''}{int(whole):,}{point}{decimals}"


def _plain(amount: Decimal) -> str:
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
