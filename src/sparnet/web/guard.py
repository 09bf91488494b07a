"""What stands before the API: who may call, how much they may send, and how slowly."""

import asyncio
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from python_multipart.multipart import parse_options_header

from sparnet.web.desk import Desk
from sparnet.web.metrics import Metrics
from sparnet.web.settings import Settings, host_is_allowed

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer. No script, font or style comes from elsewhere, and none is inline."""
_OPEN_TO_ALL = ("/", "/healthz")  # the page holds no secret: it asks for the token
_STATIC = "/static/"
_ROUTES = frozenset(
    {
        "/",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/v1/models",
        "/v1/faces",
        "/v1/restore",
        "/v1/upscale",
        "/v1/attention",
    }
)
_WORK = "POST"
_FORM = b"multipart/form-data"
_CHARSETS = (b"utf-8", b"utf8")
_ANSWER_SECONDS = 60.0
_PIECE = 256 * 1024


class Refused(Exception):  # noqa: N818 - an answer, not an error of the program
    """A request that is answered without the API."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


class Guard:
    """An ASGI application around another.

    Args:
        app: The API and the page.
        settings: Limits.
        desk: Where requests wait for their turn.
        metrics: Counters.
    """

    def __init__(self, app: App, settings: Settings, desk: Desk, metrics: Metrics) -> None:
        self.app = app
        self.settings = settings
        self.desk = desk
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send, path=scope["path"])
        try:
            await self._serve(scope, receive, answer)
        except Refused as refused:
            await answer.refuse(refused)
            if refused.status != 408 and not _expects_leave(scope):
                await self._drain(receive)
            await answer.end()
        except TimeoutError:  # nobody takes the answer
            answer.status = 499
            raise
        except asyncio.CancelledError:  # the time is over that a server that is being stopped gives
            if answer.is_begun:
                raise
            await answer.refuse(Refused(503, "the server is being stopped", Connection="close"))
            await answer.end()
        finally:
            route = scope["path"] if scope["path"] in _ROUTES else "other"
            self.metrics.requests.labels(route, str(answer.status)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        self._check_caller(scope, headers)
        if scope["method"] != _WORK:
            await self.app(scope, receive, answer.send)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self.settings.max_bytes:
            raise self._too_large()
        if scope["path"] in _ROUTES:
            _check_form(scope)
        if not self.desk.enter():
            raise Refused(
                429,
                f"{self.desk.most} requests are being worked on or wait; try again",
                **{"Retry-After": str(self.desk.retry_after_seconds)},
            )
        try:
            body = await self._read(receive)
            await self.app(scope, _replay(body, receive), answer.send)
        finally:
            self.desk.leave()

    def _check_caller(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if not host_is_allowed(host, self.settings):
            raise Refused(421, "this server is not known by that name; start it with --allow-host NAME")
        origin = headers.get("origin")
        is_foreign = headers.get("sec-fetch-site") == "cross-site" or (
            origin is not None and _place_of(origin) != host.lower()
        )
        if is_foreign and scope["method"] == _WORK:
            raise Refused(403, "pages of other sites may not use this server")
        path = scope["path"]
        token = self.settings.auth_token
        if token is None or path in _OPEN_TO_ALL or path.startswith(_STATIC):
            return
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            shown.strip().encode("latin-1"), token.encode()
        ):
            raise Refused(
                401, "a token is needed: Authorization: Bearer TOKEN", **{"WWW-Authenticate": "Bearer"}
            )

    def _too_large(self) -> Refused:
        most = self.settings.max_bytes
        return Refused(413, f"the request is larger than {most / 1e6:g} MB; send a smaller file")

    async def _read(self, receive: Receive) -> bytearray:
        """Read a body that is neither too large nor too slow.

        Raises:
            Refused: If it is.
        """
        body = bytearray()
        started = time.monotonic()
        while True:
            # Who sends faster than the slowest line allowed has time left.
            allowed = self.settings.body_grace_seconds + len(body) / self.settings.body_bytes_per_second
            left = started + allowed - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), max(left, 0.001))
            except TimeoutError:
                raise Refused(408, "the picture came too slowly", Connection="close") from None
            if message["type"] == "http.disconnect":
                raise Refused(408, "the client went away", Connection="close")
            body += message.get("body", b"")
            if len(body) > self.settings.max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return body

    async def _drain(self, receive: Receive) -> None:
        """Take what the client still sends, so that it can read the answer; within limits."""
        taken = 0
        try:
            async with asyncio.timeout(self.settings.body_grace_seconds):
                while taken <= self.settings.max_bytes:
                    message = await receive()
                    taken += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


class _Answer:
    """Sends an answer with the security headers, and does not wait for ever for its reader."""

    def __init__(self, send: Send, *, path: str) -> None:
        self._send = send
        self._path = path
        self.status = 499  # no answer: the client went away
        self.is_begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.is_begun = True
            headers = list(message.get("headers", []))
            names = {name.lower() for name, _ in headers}
            added = dict(SECURITY_HEADERS)
            # A page of an older version beside newer modules would not work.
            added["Cache-Control"] = "no-cache" if self._path.startswith(_STATIC) else "no-store"
            for name, value in added.items():
                if name.lower().encode() not in names:
                    headers.append((name.lower().encode(), value.encode()))
            message = {**message, "headers": headers}
        body = memoryview(message.get("body", b""))
        # A piece is held only until the next may be written: a client that does not read holds one.
        while len(body) > _PIECE:
            piece, body = bytes(body[:_PIECE]), body[_PIECE:]
            await asyncio.wait_for(self._send({**message, "body": piece, "more_body": True}), _ANSWER_SECONDS)
            message = {**message, "body": bytes(body[:_PIECE])}
        await asyncio.wait_for(self._send(message), _ANSWER_SECONDS)

    async def refuse(self, refused: Refused) -> None:
        """Begin the answer; its end is sent when the client has been listened to."""
        content = json.dumps({"detail": refused.detail}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self) -> None:
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


def _place_of(origin: str) -> str | None:
    """Return an origin's host and port; None if it is malformed."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _check_form(scope: Scope) -> None:
    """Refuse what the form's parser would take minutes for on the event loop, where all others wait.

    Raises:
        Refused: If the body is no form of parts, or its text is in another charset than UTF-8.
    """
    kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
    kind, options = parse_options_header(kinds[0] if len(kinds) == 1 else b"")
    if kind != _FORM:
        got = kind.decode("latin-1")[:80] or ("several content types" if kinds else "no content type")
        raise Refused(422, f"expected a form of multipart/form-data, got {got}")
    charset = options.get(b"charset", _CHARSETS[0])
    if charset.lower() not in _CHARSETS:
        raise Refused(422, f"expected a form in utf-8, got charset {charset.decode('latin-1')[:80]}")


def _expects_leave(scope: Scope) -> bool:
    """Say whether the client waits to be told that it may send its body."""
    return any(name.lower() == b"expect" for name, _ in scope["headers"])


def _replay(body: bytearray, receive: Receive) -> Receive:
    """Hand a body that was read to the application, and then what the client does next."""
    left = [bytes(body)]
    body.clear()

    async def receive_again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receive_again
