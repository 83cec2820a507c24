"""Lists that go on by themselves: a page holds its items, and iterating over it passes on to the next ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from naive import responses

if TYPE_CHECKING:
    import httpx

    from naive.requests import Listing
    from naive.transport import AsyncTransport, Transport


class _Page[T]:
    """One page: its `items`, and `next_cursor`, which is None at the end."""

    items: list[T]
    next_cursor: str | None
    request_id: str | None

    def __init__(self, request: Listing[T], response: httpx.Response) -> None:
        data = responses.json_of(response)
        self._request = request
        self.items = responses.understood(request, data, response)
        self.next_cursor = data.get("next_cursor")
        self.request_id = response.headers.get("x-request-id")

    @property
    def has_next_page(self) -> bool:
        return self.next_cursor is not None

    def _next_request(self) -> Listing[T]:
        if self.next_cursor is None:
            raise LookupError("this is the last page; has_next_page says so")
        return replace(self._request, query={**self._request.query, "cursor": self.next_cursor})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(items={self.items!r}, next_cursor={self.next_cursor!r})"


class Page[T](_Page[T]):
    """A page of a list. `for item in page` goes on over all pages after it; `page.items` is this one alone."""

    def __init__(self, transport: Transport, request: Listing[T], response: httpx.Response) -> None:
        super().__init__(request, response)
        self._transport = transport

    def next_page(self) -> Page[T]:
        return self._transport.pages(self._next_request())

    def pages(self) -> Iterator[Page[T]]:
        """This page and all after it."""
        page = self
        yield page
        while page.has_next_page:
            page = page.next_page()
            yield page

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items


class AsyncPage[T](_Page[T]):
    """A page of a list. `async for item in page` goes on over all pages after it."""

    def __init__(self, transport: AsyncTransport, request: Listing[T], response: httpx.Response) -> None:
        super().__init__(request, response)
        self._transport = transport

    async def next_page(self) -> AsyncPage[T]:
        return await self._transport.page(self._next_request())

    async def pages(self) -> AsyncIterator[AsyncPage[T]]:
        """This page and all after it."""
        page = self
        yield page
        while page.has_next_page:
            page = await page.next_page()
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item


class AsyncPages[T]:
    """A list that was asked for: `await` it for its first page, or `async for` over all of its items."""

    def __init__(self, transport: AsyncTransport, request: Listing[T]) -> None:
        self._transport = transport
        self._request = request

    def __await__(self) -> Generator[Any, None, AsyncPage[T]]:
        return self._transport.page(self._request).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        async for item in await self:
            yield item
