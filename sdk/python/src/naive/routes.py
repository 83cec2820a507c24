"""One definition of a route for both clients: it makes a request, and who owns the resource says how that is sent."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, Self, overload

if TYPE_CHECKING:
    from naive.paging import AsyncPages, Page
    from naive.requests import Listing, Request
    from naive.responses import RawResponse
    from naive.streaming import AsyncStream, Stream
    from naive.types import ChatChunk


class Sync:
    """Of `Naive`: a call returns its answer."""


class Async:
    """Of `AsyncNaive`: a call is awaited."""


class Raw:
    """Of `with_raw_response`: a call returns the HTTP answer, which `parse()` reads."""


class AsyncRaw:
    """The same, awaited."""


class Sender(Protocol):
    """What a resource sends its requests through. What comes back is the owner's own: see Route."""

    def send(self, request: Request[Any]) -> Any: ...
    def pages(self, request: Listing[Any]) -> Any: ...
    def stream(self, request: Request[Any]) -> Any: ...
    def raw(self) -> Sender: ...


class Resource[M]:
    """Routes that belong together. `M` is Sync, Async, Raw or AsyncRaw, and decides what they return."""

    def __init__(self, sender: Sender, *path: str) -> None:
        self._sender = sender
        self._path = path

    def _raw(self) -> Resource[Any]:
        return type(self)(self._sender.raw(), *self._path)


class _Bound[R: Resource[Any], **P, Q]:
    def __init__(self, build: Callable[Concatenate[R, P], Q]) -> None:
        self._build = build
        self.__doc__ = build.__doc__
        self.__wrapped__ = build

    def _sent(self, instance: R, send: Callable[[Q], Any]) -> Callable[P, Any]:
        @functools.wraps(self._build)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return send(self._build(instance, *args, **kwargs))

        return call


class Route[R: Resource[Any], **P, T](_Bound[R, P, "Request[T]"]):
    """A request and its answer: decorates a method that returns the Request."""

    if TYPE_CHECKING:

        def __init__(self, build: Callable[Concatenate[R, P], Request[T]]) -> None: ...

    @overload
    def __get__(self, instance: Resource[Sync], owner: Any) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Resource[Async], owner: Any) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, instance: Resource[Raw], owner: Any) -> Callable[P, RawResponse[T]]: ...
    @overload
    def __get__(
        self, instance: Resource[AsyncRaw], owner: Any
    ) -> Callable[P, Coroutine[Any, Any, RawResponse[T]]]: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else self._sent(instance, instance._sender.send)


class ListRoute[R: Resource[Any], **P, T](_Bound[R, P, "Listing[T]"]):
    """A list, page after page: decorates a method that returns the Listing."""

    if TYPE_CHECKING:

        def __init__(self, build: Callable[Concatenate[R, P], Listing[T]]) -> None: ...

    @overload
    def __get__(self, instance: Resource[Sync], owner: Any) -> Callable[P, Page[T]]: ...
    @overload
    def __get__(self, instance: Resource[Async], owner: Any) -> Callable[P, AsyncPages[T]]: ...
    @overload
    def __get__(self, instance: Resource[Raw], owner: Any) -> Callable[P, RawResponse[list[T]]]: ...
    @overload
    def __get__(
        self, instance: Resource[AsyncRaw], owner: Any
    ) -> Callable[P, Coroutine[Any, Any, RawResponse[list[T]]]]: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else self._sent(instance, instance._sender.pages)


class StreamRoute[R: Resource[Any], **P](_Bound[R, P, "Request[ChatChunk]"]):
    """A stream of chunks: decorates a method that returns the Request that opens it."""

    if TYPE_CHECKING:

        def __init__(self, build: Callable[Concatenate[R, P], Request[ChatChunk]]) -> None: ...

    @overload
    def __get__(self, instance: Resource[Sync], owner: Any) -> Callable[P, Stream]: ...
    @overload
    def __get__(self, instance: Resource[Raw], owner: Any) -> Callable[P, Stream]: ...
    @overload
    def __get__(self, instance: Resource[Async], owner: Any) -> Callable[P, AsyncStream]: ...
    @overload
    def __get__(self, instance: Resource[AsyncRaw], owner: Any) -> Callable[P, AsyncStream]: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else self._sent(instance, instance._sender.stream)


class RawRoutes[A, B]:
    """`with_raw_response` of a resource: the same routes, each returning its HTTP answer."""

    @overload
    def __get__(self, instance: Resource[Sync], owner: Any) -> A: ...
    @overload
    def __get__(self, instance: Resource[Async], owner: Any) -> B: ...
    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self if instance is None else instance._raw()
