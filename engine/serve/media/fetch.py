"""Media from the web, by an address that a request names: from the world's hosts only, and only so much for so long.

A name is looked up once and connected to what was found, so that it cannot turn out to be another host (DNS rebinding).
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cached_property
from http import HTTPStatus

import httpx2

from engine.api.errors import MediaError
from engine.serve.media.addresses import is_public
from engine.serve.media.kinds import Wanted
from engine.serve.media.refusal import empty, too_large, unfit
from engine.serve.settings import MediaRules

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""From a host's name and a port to numeric addresses. Raises `OSError` where there are none."""
Spend = Callable[[int], None]
"""Told of each piece's bytes; raises `MediaError` where they are too many."""

SCHEMES = {"http": 80, "https": 443}
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_UNTOLD = frozenset(("", "application/octet-stream", "binary/octet-stream", "application/mp4", "application/ogg"))
"""Media types that say little enough for the bytes to be looked at."""
_AT_ONCE = 8
_HEADERS = {"user-agent": "Fovea", "accept": "*/*", "accept-encoding": "identity", "connection": "close"}


async def look_up(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Fetcher:
    """Lives on the server's event loop."""

    def __init__(
        self,
        rules: MediaRules,
        resolve: Resolve = look_up,
        is_allowed: Callable[[str], bool] = is_public,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._given_trust = trust
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def fetch(self, address: str, wanted: Wanted, spend: Spend) -> bytes:
        """Raises `MediaError`."""
        if not self._rules.allow_urls:
            raise MediaError(
                f"The {wanted.what} is an address on the web, and nothing is fetched here.",
                "Send its content as a data: URI.",
                code="media_urls_off",
            )
        async with self._places:
            try:
                async with asyncio.timeout(self._rules.fetch_s):
                    return await self._follow(_parsed(address, wanted), wanted, spend)
            except TimeoutError as error:
                raise _failure(wanted, "took too long to come") from error
            except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
                raise _failure(wanted, "could not be fetched") from error

    async def _follow(self, url: httpx2.URL, wanted: Wanted, spend: Spend) -> bytes:
        for _ in range(self._rules.max_redirects + 1):
            target = await self._checked(url, wanted)
            # A client of its own for each: no cookie, no connection and no setting of this machine's goes along.
            async with httpx2.AsyncClient(
                trust_env=False, verify=self._trust, timeout=self._rules.fetch_s, follow_redirects=False
            ) as client:
                headers = {**_HEADERS, "host": url.netloc.decode("ascii")}
                extensions = {"sni_hostname": url.raw_host.decode("ascii")}
                async with client.stream("GET", target, headers=headers, extensions=extensions) as response:
                    if response.status_code not in _REDIRECTS:
                        return await _read(response, wanted, spend)
                    following = url.join(_parsed(response.headers.get("location", ""), wanted))
            if url.scheme == "https" and following.scheme != "https":
                raise _refusal(wanted)
            url = following
        raise _failure(wanted, "is redirected too often")

    async def _checked(self, url: httpx2.URL, wanted: Wanted) -> httpx2.URL:
        """The same with the address in its host's place that the host was found at. Raises `MediaError` for one that
        leads anywhere but into the world."""
        port = SCHEMES.get(url.scheme) if url.port is None else url.port
        if port not in self._rules.ports or url.scheme not in SCHEMES or url.userinfo or not url.host:
            raise _refusal(wanted)
        try:
            found = await self._resolve(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError) as error:
            raise _refusal(wanted) from error
        # Asking the system where it would send from may take a moment.
        allowed = await asyncio.to_thread(lambda: [self._is_allowed(address) for address in found])
        if not found or not all(allowed):
            raise _refusal(wanted)
        return url.copy_with(host=found[0], port=port, fragment=None)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return self._given_trust or httpx2.create_ssl_context(trust_env=False)


def _parsed(address: str, wanted: Wanted) -> httpx2.URL:
    try:
        return httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise _refusal(wanted) from error


async def _read(response: httpx2.Response, wanted: Wanted, spend: Spend) -> bytes:
    if response.status_code != HTTPStatus.OK:
        raise _failure(wanted, f"could not be fetched: its host answered {response.status_code}")
    # What is packed may unpack to anything.
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise _failure(wanted, "comes packed, though that was not asked for")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _UNTOLD and not wanted.fits(media_type):
        raise unfit(wanted)
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > wanted.max_bytes:
        raise too_large(wanted)
    data = bytearray()
    async for piece in response.aiter_raw():
        if len(data) + len(piece) > wanted.max_bytes:
            raise too_large(wanted)
        spend(len(piece))
        data += piece
    if not data:
        raise empty(wanted)
    return bytes(data)


def _refusal(wanted: Wanted) -> MediaError:
    """The same for all: what this machine can reach is nobody's business."""
    return MediaError(
        f"The {wanted.what} has an address that nothing is fetched from.",
        "It has to be that of a public host, http or https, without a name and password in it.",
        code="media_refused",
    )


def _failure(wanted: Wanted, what: str) -> MediaError:
    return MediaError(f"The {wanted.what} {what}.", "Send its content as a data: URI.", code="media_unreachable")
