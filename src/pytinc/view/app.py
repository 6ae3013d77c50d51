"""The application: one page, its files, and the stream of what it shows. Read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pytinc.view.access import HEADERS, TOKEN, Access, Refusal
from pytinc.view.hub import Hub, sse

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
"""The media types of our files; nothing else in the folder is served."""
NO_COOKIE: Final = Refusal(401, "Open the URL that `pytinc view' printed: it has a token.")
TOO_MANY: Final = "Too many watchers: close another page first."


class Guard:
    """Refuses what `Access` refuses, exchanges the token for a cookie, and adds `HEADERS` to all answers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a WebSocket: the server is started without them
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        answer = self._answer(Request(scope))
        inner = {**scope, "path": self._access.path_in_page(scope["path"]) or "/"}
        await (self._app if answer is None else answer)(inner, receive, send_with_headers)

    def _answer(self, request: Request) -> Response | None:
        """Return the answer that needs no more than the headers; None if the request may go on."""
        # Not that of request.url, which is made with the Host header and read again.
        access, path = self._access, request.scope["path"]
        headers = _once(request.headers)
        refusal = access.refusal(request.method, path, headers)
        if refusal is None and path == "/" and TOKEN in request.query_params:
            if access.is_token(request.query_params[TOKEN]):
                # The next address has no token: it is in no history and in no screenshot.
                return RedirectResponse(access.page, 303, {"Set-Cookie": access.set_cookie()})
            refusal = Refusal(403, "The token is wrong: it may be from an earlier start.")
        is_outside = access.path_in_page(path) is None
        if refusal is None and (is_outside or not access.is_session(request.cookies.get(access.cookie))):
            refusal = NO_COOKIE
        if refusal is None:
            return None
        return PlainTextResponse(
            f"{refusal.text}\n", refusal.status, {"Allow": "GET, HEAD"} if refusal.status == 405 else None
        )


def _once(headers: Headers) -> dict[str, str]:
    """Return headers by name. One that comes twice has a value that matches nothing."""
    return {name: "; ".join(headers.getlist(name)) for name in headers}


def application(access: Access, hub: Hub, run: Callable[[], AsyncIterator[None]] | None = None) -> ASGIApp:
    """Return the application. ``run`` is entered while it serves, as a context manager."""
    files = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.suffix in TYPES}

    async def page(request: Request) -> Response:
        return FileResponse(files["index.html"], media_type=TYPES[".html"])

    async def asset(request: Request) -> Response:
        # Only known names: no path of a request is looked up on the disk.
        path = files.get(request.path_params["name"])
        if path is None:
            return PlainTextResponse("There is no such file.\n", 404)
        return FileResponse(path, media_type=TYPES[path.suffix])

    async def stream(request: Request) -> Response:
        return StreamingResponse(_messages(hub), media_type="text/event-stream")

    async def lifespan_of(app: Starlette) -> AsyncIterator[None]:
        if run is None:
            yield
            return
        async with asynccontextmanager(run)():
            yield

    routes = [
        Route("/", page),
        Route("/stream", stream),
        Route("/static/{name:path}", asset),
    ]
    return Guard(Starlette(routes=routes, lifespan=asynccontextmanager(lifespan_of)), access)


async def _messages(hub: Hub) -> AsyncIterator[str]:
    """Yield the messages for one watcher. The browser asks again two seconds after the stream has ended."""
    yield "retry: 2000\n\n"
    with hub.watching() as has_room:
        if not has_room:
            yield sse("full", {"text": TOO_MANY})
            return
        async for kind, document in hub.stream():
            yield sse(kind, document)
