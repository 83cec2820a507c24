"""What upstream tells everybody for nothing: kept a moment, asked for once, and sooner old than not at all."""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from llm import upstream
from llm.errors import UpstreamError, UpstreamTimeout
from llm.proxy import headers
from llm.shapes import faults
from llm.shares import Shares

# What is kept, how long it counts as new, and how much of it there is. Units: seconds, pages, bytes.
FRESH_S = 60.0
PAGES_MAX = 64
BYTES_MAX = 4 * 1024 * 1024
# It is the operator's key that asks: so many questions at once, and none for longer. Unit: seconds.
QUESTIONS_MAX = 8
# No company takes more of those places than this, however much it asks: others want their model lists, too.
COMPANY_QUESTIONS_MAX = 4
ANSWER_WAIT_S = 20.0

type _Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer as a client gets it."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    stale_at: float


class _Shelf:
    """One event loop's pages, the one that was taken last at the end, and its running questions."""

    def __init__(self) -> None:
        self.pages: OrderedDict[_Name, Page] = OrderedDict()
        self.questions: dict[_Name, asyncio.Task[Page]] = {}

    def keep(self, name: _Name, page: Page) -> None:
        self.pages[name] = page
        self.pages.move_to_end(name)
        while len(self.pages) > PAGES_MAX or sum(len(kept.body) for kept in self.pages.values()) > BYTES_MAX:
            self.pages.popitem(last=False)


_places = Shares(most=QUESTIONS_MAX, company_most=COMPANY_QUESTIONS_MAX)
_shelves: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Shelf] = weakref.WeakKeyDictionary()


async def fetch(path: str, query: str, *, company_id: UUID) -> Page:
    """Return upstream's answer to a free question.

    Shape: `path` and `query` are written by us (llm/proxy/paths.py). Upstream's refusals are answered without what
    names the operator and are not kept; while upstream fails, an older answer stands.
    Errors: UpstreamError and its kin, NotConfigured.
    """
    loop = asyncio.get_running_loop()
    shelf = _shelves.setdefault(loop, _Shelf())
    name = (path, query)
    kept = shelf.pages.get(name)
    if kept is not None and loop.time() < kept.stale_at:
        shelf.pages.move_to_end(name)
        return kept
    question = shelf.questions.get(name)
    if question is None:
        asking = _ask(shelf, name, company_id)
        question = shelf.questions[name] = asyncio.create_task(asking, name=f"free:{path}")
        question.add_done_callback(lambda done: _answered(shelf, name, done))
    try:
        found = await asyncio.shield(question)
    except UpstreamError:
        if kept is None:
            raise
        return kept
    return kept if kept is not None and found.status >= 500 else found


async def _ask(shelf: _Shelf, name: _Name, company_id: UUID) -> Page:
    path, query = name
    try:
        async with asyncio.timeout(ANSWER_WAIT_S), _places.place(company_id):
            answer = await upstream.client().open(path, query=query)
            try:
                raw = await answer.read()
            finally:
                await answer.close()
    except TimeoutError as exc:
        raise UpstreamTimeout("The model provider did not answer in time.", status=504) from exc
    told = headers.incoming(answer.headers, status=answer.status)
    told.pop("content-encoding", None)
    stale_at = asyncio.get_running_loop().time() + FRESH_S
    if not answer.is_success:
        fault = faults.answer(answer.status, raw, dialect="chat")
        told |= {"content-type": "application/json"} if fault.is_ours else {}
        return Page(status=fault.status, body=fault.body, headers=told, stale_at=stale_at)
    page = Page(status=answer.status, body=raw, headers=told, stale_at=stale_at)
    if len(raw) <= BYTES_MAX:
        shelf.keep(name, page)
    return page


def _answered(shelf: _Shelf, name: _Name, question: asyncio.Task[Page]) -> None:
    del shelf.questions[name]
    if not question.cancelled():
        question.exception()  # Seen, though whoever asked may have left.
