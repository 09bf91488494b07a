"""What a server allows, in one place; each limit is checked before the work that it bounds."""

import ipaddress
import socket
from dataclasses import dataclass

from sparnet.errors import SparnetError


@dataclass(frozen=True)
class Settings:
    """How a server is reached, and how much it does for one client."""

    host: str = "127.0.0.1"
    """Address it listens on."""
    port: int = 7860
    """Port it listens on; 0 takes a free one."""
    auth_token: str | None = None
    """What clients must show (`Authorization: Bearer ...`); None lets everyone in."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may call it, beside its own addresses; for a proxy before it."""
    max_bytes: int = 25_000_000
    """Largest request, bytes."""
    max_pixels: int = 50_000_000
    """Largest picture that is decoded."""
    max_result_pixels: int = 100_000_000
    """Largest picture that is made, and what all photos being worked on may have together."""
    max_faces: int = 64
    """Faces of a photo that are restored, the largest."""
    max_waiting: int = 32
    """Requests that may wait for their turn; more are sent away with 429."""
    workers: int = 4
    """Photos worked on at once. Their faces share the network's batches."""
    time_limit_seconds: float = 120.0
    """Time for a request from the last byte of the picture to the answer, waiting included."""
    body_grace_seconds: float = 10.0
    """Time in which a body need not come faster than `body_bytes_per_second`."""
    body_bytes_per_second: int = 100_000
    """How slow a client's line may be; a slower one is cut off."""
    remember_seconds: float = 120.0
    """How long faces found and faces made are kept in memory, so that a changed choice needs no new work.

    0 keeps nothing. The photo itself is never kept.
    """

    @property
    def is_local(self) -> bool:
        """Whether only programs of this computer can reach it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Say whether an address, or the name `localhost`, means this computer alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings, *, insecure: bool) -> None:
    """Refuse to let the network in without a token, unless that is asked for.

    Raises:
        SparnetError: If the address is open to others and no token is set.
    """
    if settings.is_local or settings.auth_token or insecure:
        return
    raise SparnetError(
        f"{settings.host} can be reached by other computers; set a token (--auth-token, or the variable "
        "SPARNET_AUTH_TOKEN), or say --insecure to let everyone in"
    )


def host_is_allowed(host: str, settings: Settings) -> bool:
    """Say whether a request may name this server so in its `Host` header.

    A page of another site can make a browser call this computer under a name of its own (DNS rebinding);
    it cannot make it call by an address, or by `localhost`.

    Args:
        host: The header, with or without a port.
        settings: Of the server.
    """
    name = _without_port(host).lower().rstrip(".")
    allowed = {"localhost", settings.host.lower(), *(entry.lower() for entry in settings.allowed_hosts)}
    if not settings.is_local:
        allowed.add(socket.gethostname().lower())
    if name in allowed:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or not settings.is_local


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, closed, _ = host[1:].partition("]")
        return name if closed else host
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
