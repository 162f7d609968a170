"""Every setting of the local API, as frozen dataclasses, safe as they stand.

Read once, at the edge (the command line, the app's composition root). Knows nothing of who keeps to them.
"""

import ipaddress
import math
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from engine.api.errors import RequestError
from engine.api.request import MOST_LOGPROBS, LoadModel

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8080
MOST_PORT = 65_535
FOREIGN = ("claude-", "gpt-")
"""How models of clouds are called. Their own clients cannot be told of others."""
_SHORTEST_KEY = 16
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s*@]+")


@dataclass(frozen=True, slots=True)
class MediaRules:
    """Which pictures, clips and recordings a request may name. What it carries itself (`data:`) is always let in."""

    allow_urls: bool = False
    """Whether `http(s)` addresses are fetched; those of this machine and its network never are."""
    folders: tuple[Path, ...] = ()
    """Files below these may be named; none by default."""
    max_items: int = 64
    """Of one request."""
    max_bytes: int = 200_000_000
    """Of one picture or recording."""
    max_clip_bytes: int = 500_000_000
    max_total_bytes: int = 1_000_000_000
    """Of all media of one request."""
    fetch_s: float = 20.0
    """How long one fetch may take, redirects included."""
    max_redirects: int = 3
    ports: tuple[int, ...] = (80, 443)
    """Of hosts that are fetched from."""

    def __post_init__(self) -> None:
        """Raises `RequestError`, as the settings below do."""
        _check_numbers(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is taken in at once, and for how long. Beyond it, a client is told when to come back."""

    max_running: int = 8
    """Answers that are drawn at the same time; as many as the engine draws."""
    max_queue: int = 64
    """Further answers that may wait for their turn."""
    max_per_key: int = 72
    """Answers of one key, running or waiting."""
    max_prompt_bytes: int = 64_000_000
    """Text of all prompts that run or wait."""
    max_media_bytes: int = 2_000_000_000
    """Media of all of them, as they came."""
    max_body_bytes: int = 64_000_000
    """Of one request."""
    max_body_values: int = 1_000_000
    """Numbers, texts and so on in one request; about, as commas in a text count as well."""
    max_reading_bytes: int = 256_000_000
    """Of all requests that are being read."""
    queue_s: float = 120.0
    """How long an answer may wait for its turn."""
    keep_alive_s: float = 8.0
    """How long a stream may be silent before it says that it is alive."""
    send_s: float = 60.0
    """How long a client may leave what it was sent lying."""
    body_s: float = 60.0
    """How long a client may take to send a request."""
    drain_s: float = 10.0
    """How long answers may take to end once the server is stopped."""
    side_s: float = 30.0
    """How long a small request (a list, a count) may take."""

    def __post_init__(self) -> None:
        _check_numbers(self)


@dataclass(frozen=True, slots=True)
class ServeSettings:
    host: str = LOOPBACK
    """The address to listen at. Any but this machine's own needs a key."""
    port: int = DEFAULT_PORT
    """0 takes any that is free."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """Any of them opens everything but `/health`."""
    key_required: bool = True
    """`False` lets anyone on this machine in, and is refused for other hosts."""
    allowed_hosts: tuple[str, ...] = ()
    """Names besides this machine's own that a client may call the server by, without port."""
    allowed_origins: tuple[str, ...] = ()
    """Of web pages that may ask, such as `http://localhost:3000`."""
    models: tuple[str, ...] | None = None
    """Ids that may be asked for; `None` is every model on this machine."""
    loads: tuple[LoadModel, ...] = ()
    """How models are loaded that take more than a name: a revision, a draft model, a folder anywhere."""
    switching: bool = True
    """Whether naming a model on this machine that is not loaded loads it."""
    foreign_names: bool = True
    """Whether a name that begins with one of `FOREIGN` means the model that is loaded."""
    template_options: tuple[tuple[str, object], ...] = ()
    """For chat templates, where a request does not say otherwise."""
    top_logprobs: int = MOST_LOGPROBS
    """The most that a request may ask for."""
    log_bodies: bool = False
    """Whether the log holds what was asked and answered."""
    media: MediaRules = field(default_factory=MediaRules)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Raises `RequestError` for what is out of range, and for a server that would be open to others."""
        if not 0 <= self.port <= MOST_PORT:
            raise RequestError(f"The port is {self.port}.", f"It has to be between 0 and {MOST_PORT}.")
        if not 0 <= self.top_logprobs <= MOST_LOGPROBS:
            raise RequestError(f"top_logprobs is {self.top_logprobs}.", f"It has to be 0 to {MOST_LOGPROBS}.")
        if not self.host:
            raise RequestError("The host is empty.", f"Leave it out for {LOOPBACK}.")
        for key in self.keys:
            _check_key(key)
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise RequestError(
                    f"{origin!r} is no origin of a web page.", "Write it like http://localhost:3000, without a path."
                )
        for name in self.allowed_hosts:
            if not name or "*" in name or "/" in name:
                raise RequestError(f"{name!r} is no name of a host.", "Write it like mac.local, without a port.")
        if not self.keys and (self.key_required or not is_loopback(self.host)):
            raise RequestError(
                f"A server at {self.host} needs a key.", "Give one, or leave the host out to be asked by nobody else."
            )
        if not self.key_required and not is_loopback(self.host):
            raise RequestError(
                f"A server at {self.host} cannot be without a key.", "Others could use it. Leave key_required as it is."
            )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a server that listens there."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_key(key: str) -> None:
    if len(key) < _SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise RequestError(
            "The key is too short, or holds blanks or characters that cannot stand in a header.",
            f"Use at least {_SHORTEST_KEY} letters and digits.",
        )


def _check_numbers(settings: MediaRules | Limits) -> None:
    """All of them are more than nothing, and finite. Waiting places and redirects may be none."""
    for place in fields(settings):
        value = getattr(settings, place.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least = 0 if place.name in ("max_queue", "max_redirects", "drain_s", "max_items") else 1e-6
        if not least <= value < math.inf:
            raise RequestError(f"{place.name} is {value}.", "It has to be more than 0, and finite.")
