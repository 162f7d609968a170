"""A web of its own for tests: one host on this machine that answers from a script, and names that lead to it.

Nothing looks a name up outside, and nothing waits for a clock.
"""

import asyncio
import io
import ssl
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from PIL import Image as PILImage

from engine.api.request import Audio, GenerateRequest, Image, Message, Role, Text, Video
from engine.serve.media.addresses import is_public
from engine.serve.media.fetch import Fetcher
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules

HERE = "127.0.0.1"
CERTIFICATE = Path(__file__).with_name("pictures_example.pem")
"""Of pictures.example, signed by itself, with its key; worth nothing."""


def png(size=(4, 3)):
    data = io.BytesIO()
    PILImage.new("RGB", size, (200, 30, 30)).save(data, "PNG")
    return data.getvalue()


PICTURE = png()


def answer(body=PICTURE, status=200, **headers):
    """The bytes of a response; `_` in a header's name is `-`."""
    headers = {"content_type": "image/png", "content_length": str(len(body)), **headers}
    lines = [
        f"HTTP/1.1 {status} x",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def redirect(location, status=302):
    return answer(b"", status, location=location)


class Host:
    """`pages` by path, each in one piece or several; `None` is silence until the client goes."""

    def __init__(self, pages):
        self.pages = pages
        self.heads = []
        """Of requests, as they came."""
        self.port = 0

    @property
    def paths(self):
        return [head.split()[1] for head in self.heads]

    async def answer(self, reader, writer):
        # A client that goes early is what some tests are about.
        with suppress(ConnectionError, asyncio.IncompleteReadError), closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            page = self.pages[head.split()[1]]
            for piece in page if isinstance(page, list) else [page]:
                if piece is None:
                    await reader.read()
                else:
                    writer.write(piece)
                    await writer.drain()


@asynccontextmanager
async def serving(pages, tls=False):
    host = Host(pages)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    async with await asyncio.start_server(host.answer, HERE, 0, ssl=context) as server:
        host.port = server.sockets[0].getsockname()[1]
        yield host


class Names:
    """A resolver: what each look-up gives, the last one from then on."""

    def __init__(self, *found):
        self.found = [[each] if isinstance(each, str) else each for each in found or (HERE,)]
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append(host)
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if found is None:
            raise OSError("no such host")
        return found


def here_or_public(address):
    """As if this machine were one of the world's."""
    return address == HERE or is_public(address)


def policy(host=None, names=None, is_allowed=here_or_public, trust=None, usual_ports=False, **rules):
    """That fetches from `host` by whatever name."""
    ports = (*((host.port,) if host else ()), *((80, 443) if usual_ports or not host else ()))
    settings = MediaRules(**{"allow_urls": True, "ports": ports, **rules})
    return MediaPolicy(settings, Fetcher(settings, names or Names(), is_allowed, trust))


def asking(*parts):
    return GenerateRequest((Message(Role.USER, (Text("What is it?"), *parts)),))


def settled(policy, *parts):
    """The sources of the media, in order."""
    return asyncio.run(settle(policy, *parts))


async def settle(policy, *parts):
    request = await policy.settle(asking(*parts))
    return [part.source for part in request.prompt[0].parts if isinstance(part, Image | Audio | Video)]
