"""Run the application: one process, one event loop, connections that must get on."""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sparnet.errors import SparnetError
from sparnet.web.guard import Guard
from sparnet.web.settings import Settings

_HEADER_SECONDS = 10.0
_BACKLOG = 256
_LAST_WORDS_SECONDS = 1.0


class ImpatientProtocol(H11Protocol):
    """Closes connections whose headers do not come or whose answer stays; uvicorn waits without end."""

    header_seconds: float = _HEADER_SECONDS

    def connection_made(self, transport: Any) -> None:
        """Begin to watch a new connection."""
        super().connection_made(transport)
        self._watch((None, 0))

    def _watch(self, seen: tuple[Any, int]) -> None:
        self._watching = self.loop.call_later(self.header_seconds, self._look, seen)

    def _look(self, seen: tuple[Any, int]) -> None:
        """Close what has done nothing since the last look but to keep the connection."""
        cycle = self.cycle
        unsent = self.transport.get_write_buffer_size()
        is_idle = cycle is None or cycle.response_complete
        if not is_idle or (cycle, unsent) != seen:
            self._watch((cycle, unsent))
        elif unsent:
            self.transport.abort()  # closing would wait until the client has read the rest
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End watching."""
        self._watching.cancel()
        super().connection_lost(exc)


def listen(settings: Settings) -> socket.socket:
    """Open the port.

    Raises:
        SparnetError: If it is taken, or the address is not of this computer.
    """
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        is_of_resolver = isinstance(error, socket.gaierror) or not error.errno
        reason = (error.strerror or str(error)) if is_of_resolver else os.strerror(error.errno or 0)
        raise SparnetError(f"{host}:{port}: cannot be listened on ({reason}); name another --port") from None


def serve(app: Guard, opened: socket.socket, *, on_start: Callable[[], None] = lambda: None) -> None:
    """Serve until a signal to end.

    Args:
        app: The application.
        opened: The port, from `listen`.
        on_start: Called when requests are answered.
    """
    make_server(app, on_start=on_start).run(sockets=[opened])


def make_server(app: Guard, *, on_start: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Make a server that does not yet run."""
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_level="warning",
        access_log=False,  # names and addresses of clients are nobody's business
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=16_384,
    )
    return _Server(config, on_start)


class _Server(uvicorn.Server):
    """Tells when it serves."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.server_state.tasks:  # those cancelled still answer that the server is being stopped
            await asyncio.wait(self.server_state.tasks, timeout=_LAST_WORDS_SECONDS)
