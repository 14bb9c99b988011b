"""The way to a server: blocking, or awaited.

Clients are written once, as coroutines. A blocking way never suspends, so `now` and `each` run a coroutine over it to
its end without an event loop: in a script, in a thread and in a notebook.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast
from urllib.parse import quote

import httpx

from ._read import read
from .errors import OrchError, refusal, strange, unreachable

A = TypeVar("A", bound="Client")
B = TypeVar("B", bound="Blocked[Any]")
P = ParamSpec("P")
T = TypeVar("T")

_CONNECT = 5.0
# Seconds for which broken connections are made again: of a question, and of what is followed while a server restarts.
BRIEFLY = 2.0
LONG = 300.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0


class Way(Protocol):
    """How requests are sent."""

    async def open(self, method: str, url: str, **options: Any) -> httpx.Response: ...

    async def read(self, response: httpx.Response) -> bytes: ...

    def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]: ...

    async def shut(self, response: httpx.Response) -> None: ...

    async def sleep(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class Awaited:
    def __init__(self) -> None:
        self._http = httpx.AsyncClient()

    async def open(self, method: str, url: str, **options: Any) -> httpx.Response:
        return await self._http.send(self._http.build_request(method, url, **options), stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        return await response.aread()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for chunk in response.aiter_bytes():
            yield chunk

    async def shut(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        await self._http.aclose()


class Blocking:
    """The same, and nothing in it waits for an event loop."""

    def __init__(self) -> None:
        self._http = httpx.Client()

    async def open(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._http.send(self._http.build_request(method, url, **options), stream=True)

    async def read(self, response: httpx.Response) -> bytes:
        return response.read()

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for chunk in response.iter_bytes():
            yield chunk

    async def shut(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251

    async def close(self) -> None:
        self._http.close()


class Patience:
    """How long broken connections are borne with. It begins anew whenever one holds."""

    def __init__(self, way: Way, seconds: float) -> None:
        self._way = way
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._until = time.monotonic() + self._seconds
        self._pause = _FIRST_PAUSE

    async def bear(self, error: OrchError) -> None:
        """Pauses before the next try, or raises the error."""
        pause = max(self._pause, error.retry_after or 0.0)
        if not error.may_pass or time.monotonic() + pause > self._until:
            raise error
        await self._way.sleep(pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


class Server:
    """A server, and who asks it: by headers, or by a name and a password.

    These are changed for a token before the first question, and when the token has expired.
    """

    def __init__(
        self,
        way: Way,
        address: str,
        *,
        headers: Mapping[str, str],
        login: tuple[str, str] | None = None,
        timeout: float,
        error: type[OrchError] = OrchError,
    ) -> None:
        self.way = way
        self.address = address
        self._headers = dict(headers)
        self._login = login
        self._timeout = timeout
        self._error = error
        self._own_tokens: set[str] = set()

    async def get(self, path: str, *, patience: float = BRIEFLY, **options: Any) -> Any:
        return await self.ask("GET", path, patience=patience, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return await self.ask("POST", path, json=body, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        return self._json(await self.answer(method, path, **options))

    async def answer(self, method: str, path: str, *, patience: float = 0.0, **options: Any) -> httpx.Response:
        """A whole answer."""
        bears = Patience(self.way, patience)
        while True:
            try:
                async with self._opened(method, path, **options) as response:
                    await self.way.read(response)
                    return response
            except OrchError as error:
                await bears.bear(error)

    async def lines(self, path: str, *, silence: float, **options: Any) -> AsyncGenerator[str, None]:
        """The lines of an answer that goes on; the first one is empty, and says that the connection is made.

        The server says something at least every `silence` seconds. Only line feeds end a line: JSON may hold all else
        that Python takes for the end of one.
        """
        async with self._opened("GET", path, read=silence, **options) as response:
            yield ""
            rest = b""
            async with aclosing(self.way.chunks(response)) as chunks:
                async for chunk in chunks:
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line.decode()

    def read(self, noun: type[T], answer: Any) -> T:
        try:
            return read(noun, answer)
        except (TypeError, ValueError, AttributeError) as error:
            raise self._error(*strange(self.address, f"{noun.__name__}, {error}").args) from error

    def read_all(self, noun: type[T], answers: list[Any]) -> list[T]:
        return [self.read(noun, answer) for answer in answers]

    async def close(self) -> None:
        """Ends the logins of this client as well; if the server is away, they expire."""
        for token in self._own_tokens:
            with suppress(httpx.HTTPError):
                await self.way.shut(await self._send("POST", "/auth/logout", headers={"Authorization": token}))
        await self.way.close()

    @asynccontextmanager
    async def _opened(self, method: str, path: str, **options: Any) -> AsyncGenerator[httpx.Response, None]:
        """A response that is a success; its body is not read yet."""
        try:
            if self._login and not self._own_tokens:
                await self._log_in(*self._login)
            response = await self._send(method, path, **options)
            if response.status_code == 401 and self._login:
                # The token has expired.
                await self.way.shut(response)
                await self._log_in(*self._login)
                response = await self._send(method, path, **options)
            try:
                await self._check(response)
                yield response
            finally:
                await self.way.shut(response)
        except httpx.HTTPError as error:
            raise self._error(*unreachable(self.address, error).args) from error

    async def _log_in(self, username: str, password: str) -> None:
        response = await self._send("POST", "/auth/token", json={"username": username, "password": password})
        try:
            await self._check(response)
            await self.way.read(response)
        finally:
            await self.way.shut(response)
        token = f"Bearer {self._json(response)['access_token']}"
        self._own_tokens.add(token)
        self._headers["Authorization"] = token

    async def _send(
        self,
        method: str,
        path: str,
        *,
        read: float | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        timeout = httpx.Timeout(self._timeout, connect=_CONNECT, read=read or self._timeout)
        headers = {**self._headers, **(headers or {})}
        return await self.way.open(method, self.address + path, headers=headers, timeout=timeout, **options)

    async def _check(self, response: httpx.Response) -> None:
        if not response.is_success:
            await self.way.read(response)
            raise self._error(*refusal(self.address, response).args)

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json() if response.content else None
        except ValueError:
            raise self._error(*strange(self.address, "no JSON").args) from None


class Client:
    """What is asked of a server; its methods are awaited."""

    _server: Server

    async def close(self) -> None:
        """Ends the connections, and the login that a password began."""
        await self._server.close()

    async def __aenter__(self: A) -> A:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Blocked(Generic[A]):
    """A client whose methods are those of another one, run to their end."""

    _client: A

    def close(self) -> None:
        """Ends the connections, and the login that a password began."""
        _finish(self._client.close())

    def __enter__(self: B) -> B:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def now(method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Blocked[A], P], T]:
    """A coroutine as a method that blocks."""

    @functools.wraps(method)
    def call(self: Blocked[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return _finish(method(self._client, *args, **kwargs))

    return call


def each(
    method: Callable[Concatenate[A, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Blocked[A], P], Iterator[T]]:
    """An asynchronous iterator as one that blocks."""

    @functools.wraps(method)
    def call(self: Blocked[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self._client, *args, **kwargs)
        try:
            while True:
                try:
                    yield _finish(items.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            _finish(items.aclose())

    return call


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise RuntimeError("a blocking way has waited for an event loop")


def path(*parts: str | int) -> str:
    """Parts of a path cannot break out of it."""
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)
