"""Media from the web: off by default; on, from the world's hosts alone, whatever a name, a host or a redirect says."""

import asyncio
import ssl

import pytest

from engine.api.errors import MediaError
from engine.api.request import Audio, Image, Video
from engine.serve.media.fetch import Fetcher
from engine.serve.media.kinds import wanted
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.serve.media.web import (
    CERTIFICATE,
    HERE,
    PICTURE,
    Names,
    answer,
    policy,
    redirect,
    serving,
    settle,
    settled,
)

PATIENCE_S = 10
METADATA = "169.254.169.254"


def fetched(path="/a.png", *, pages, names=None, part=Image, scheme="http", **rules):
    """What comes from `path` of a host, and the host."""

    async def run():
        async with serving(pages, tls=scheme == "https") as host:
            address = f"{scheme}://pictures.example:{host.port}{path}"
            (data,) = await settle(policy(host, names, **rules), part(address))
            return data, host

    return asyncio.run(run())


def refused(path="/a.png", **options):
    with pytest.raises(MediaError) as error:
        fetched(path, **options)
    assert "example" not in str(error.value)
    assert HERE not in str(error.value)
    return error.value.code


def leading(found):
    names = Names()
    names.found = [found]
    return names


# ---- whether, and how it is asked


def test_nothing_is_fetched_by_default():
    with pytest.raises(MediaError) as error:
        settled(MediaPolicy(MediaRules()), Image("https://pictures.example/a.png"))
    assert (error.value.code, "pictures" in str(error.value)) == ("media_urls_off", False)


def test_a_picture_is_fetched_and_asked_for_by_its_name(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    data, host = fetched("/a.png?size=4#part", pages={"/a.png?size=4": answer()})
    (head,) = host.heads
    assert data == PICTURE
    assert head.startswith("GET /a.png?size=4 HTTP/1.1")
    lines = head.lower().split("\r\n")
    assert f"host: pictures.example:{host.port}" in lines
    assert "accept-encoding: identity" in lines
    assert not any(line.startswith(("cookie", "authorization", "referer")) for line in lines)


def test_one_picture_named_twice_is_fetched_once():
    async def run():
        async with serving({"/a.png": answer()}) as host:
            address = f"http://pictures.example:{host.port}/a.png"
            return await settle(policy(host), Image(address), Image(address)), host.paths

    assert asyncio.run(run()) == ([PICTURE, PICTURE], ["/a.png"])


# ---- where it leads


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        [METADATA],
        ["100.64.0.1"],
        ["224.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["1.1.1.1", "127.0.0.1"],
        [],
        None,
    ],
)
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(found):
    """In the same words as one that leads nowhere."""

    async def run():
        async with serving({"/a.png": answer()}) as host:
            asked = policy(host, leading(found), is_allowed=lambda address: address == "1.1.1.1")
            with pytest.raises(MediaError) as error:
                await settle(asked, Image(f"http://pictures.example:{host.port}/a.png"))
            return error.value, host.heads

    error, heads = asyncio.run(run())
    assert (error.code, heads) == ("media_refused", [])
    assert error.message == "The image 1 has an address that nothing is fetched from."


HERE_BY_OTHER_NAMES = ("127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:7f00:1]", "localhost")


@pytest.mark.parametrize("host", HERE_BY_OTHER_NAMES)
def test_this_machine_is_refused_by_whatever_name(host):
    """With the real resolver and the real rule."""
    with pytest.raises(MediaError) as error:
        settled(MediaPolicy(MediaRules(allow_urls=True)), Image(f"http://{host}/a.png"))
    assert error.value.code == "media_refused"


def test_a_name_that_changes_its_mind_is_looked_up_once():
    """DNS rebinding: the first look-up gives a host of the world's, the next would give another."""
    names = Names(HERE, METADATA)
    data, _ = fetched(pages={"/a.png": answer()}, names=names)
    assert (data, names.asked) == (PICTURE, ["pictures.example"])


def test_only_usual_ports_are_asked():
    async def run():
        async with serving({"/a.png": answer()}) as host:
            with pytest.raises(MediaError) as error:
                await settle(policy(host, ports=(80, 443)), Image(f"http://pictures.example:{host.port}/a.png"))
            return error.value.code, host.heads

    assert asyncio.run(run()) == ("media_refused", [])


@pytest.mark.parametrize(
    "address",
    [
        "http://user:secret@pictures.example/a.png",
        "http://user@pictures.example/a.png",
        "http:///a.png",
        "http://",
        "http://pictures.example:0/a.png",
        "http://pictures.example:99999/a.png",
        "http://pictures.example:x/a.png",
        "http://[::1/a.png",
        "http://pictures\r\n.example/a.png",
        "http://" + "x" * 70_000,
        "ftp://pictures.example/a.png",
        "gopher://pictures.example/a.png",
        "ws://pictures.example/a.png",
    ],
)
def test_an_odd_address_is_refused_before_its_name_is_looked_up(address):
    names = Names()
    with pytest.raises(MediaError) as error:
        settled(policy(names=names), Image(address))
    assert (error.value.code, names.asked) == ("media_refused", [])


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status):
    data, host = fetched(pages={"/a.png": redirect("b.png", status), "/b.png": answer()})
    assert (data, host.paths) == (PICTURE, ["/a.png", "/b.png"])


@pytest.mark.parametrize(
    "location",
    [
        f"http://{METADATA}/latest/meta-data/",
        "http://inside.example/a.png",
        "http://user:secret@pictures.example/b.png",
        "http://pictures.example:22/b.png",
        "file:///etc/passwd",
        "data:image/png;base64,iVBORw0KGgo=",
        "//[::1]/a.png",
        "http://[",
        "",
    ],
)
def test_each_redirect_is_checked_as_the_first_address_was(location):
    class Inside(Names):
        async def __call__(self, host, port):
            self.asked.append(host)
            return {"pictures.example": [HERE], "inside.example": ["10.0.0.7"]}.get(host, [host])

    pages = {"/a.png": redirect(location), "/b.png": answer()}
    names = Inside()
    expected = "media_refused" if location else "media_unreachable"
    assert refused(pages=pages, names=names, max_redirects=1, usual_ports=True) == expected


def test_a_redirect_to_another_kind_of_address_is_refused():
    async def run():
        async with serving({}) as host:
            host.pages["/a.png"] = redirect(f"ftp://pictures.example:{host.port}/b.png")
            with pytest.raises(MediaError) as error:
                await settle(policy(host), Image(f"http://pictures.example:{host.port}/a.png"))
            return error.value.code

    assert asyncio.run(run()) == "media_refused"


def test_a_second_host_is_looked_up_anew():
    """And found inside, though its name was outside when it was asked for first."""
    pages = {"/a.png": redirect("/b.png"), "/b.png": answer()}
    assert refused(pages=pages, names=Names(HERE, "10.0.0.1")) == "media_refused"


@pytest.mark.parametrize(("allowed", "expected"), [(2, None), (1, "media_unreachable"), (0, "media_unreachable")])
def test_so_many_redirects_and_no_more(allowed, expected):
    pages = {"/a.png": redirect("/b.png"), "/b.png": redirect("/c.png"), "/c.png": answer()}
    if expected is None:
        assert fetched(pages=pages, max_redirects=allowed)[0] == PICTURE
    else:
        assert refused(pages=pages, max_redirects=allowed) == expected


# ---- TLS


def trusting():
    return ssl.create_default_context(cafile=CERTIFICATE)


def test_a_host_is_held_to_its_name_though_it_is_connected_to_by_number():
    data, _ = fetched(pages={"/a.png": answer()}, scheme="https", trust=trusting())
    assert data == PICTURE


def test_a_host_of_another_name_is_refused():
    async def run():
        async with serving({"/a.png": answer()}, tls=True) as host:
            with pytest.raises(MediaError) as error:
                await settle(policy(host, trust=trusting()), Image(f"https://other.example:{host.port}/a.png"))
            return error.value.code, host.heads

    assert asyncio.run(run()) == ("media_unreachable", [])


def test_a_host_that_nobody_vouches_for_is_refused():
    assert refused(pages={"/a.png": answer()}, scheme="https") == "media_unreachable"


def test_from_https_nothing_leads_to_http():
    async def run():
        async with serving({"/b.png": answer()}) as open_host:
            pages = {"/a.png": redirect(f"http://pictures.example:{open_host.port}/b.png")}
            async with serving(pages, tls=True) as host:
                ports = (host.port, open_host.port)
                asked = policy(host, trust=trusting(), ports=ports)
                with pytest.raises(MediaError) as error:
                    await settle(asked, Image(f"https://pictures.example:{host.port}/a.png"))
                return error.value.code, open_host.heads

    assert asyncio.run(run()) == ("media_refused", [])


# ---- what comes


def chunked(*pieces):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces), b"0\r\n\r\n"]


SIZE = len(PICTURE)


@pytest.mark.parametrize("page", [answer(), answer(content_length=""), chunked(PICTURE[:20], PICTURE[20:])])
@pytest.mark.parametrize("limits", [{"max_bytes": SIZE - 1}, {"max_total_bytes": SIZE - 1}, {"max_bytes": SIZE}])
def test_sizes_are_held_whatever_a_host_says(page, limits):
    if limits == {"max_bytes": SIZE}:
        assert fetched(pages={"/a.png": page}, **limits)[0] == PICTURE
    else:
        assert refused(pages={"/a.png": page}, **limits) == "media_too_large"


def test_what_is_said_to_be_too_large_is_not_read():
    """The host goes on for ever; nobody listens."""
    endless = [answer(b"", content_length=str(10**12))]
    assert refused(pages={"/a.png": endless}, max_bytes=1000) == "media_too_large"


def test_all_media_together_are_held():
    async def run():
        async with serving({f"/{n}.png": answer() for n in range(3)}) as host:
            parts = [Image(f"http://pictures.example:{host.port}/{n}.png") for n in range(3)]
            with pytest.raises(MediaError) as error:
                await settle(policy(host, max_total_bytes=3 * SIZE - 1), *parts)
            return error.value.code, await settle(policy(host, max_total_bytes=3 * SIZE), *parts)

    assert asyncio.run(run()) == ("media_too_large", [PICTURE] * 3)


@pytest.mark.parametrize("page", [None, [answer()[:-5], None]])
def test_time_is_held(page):
    """The host never answers, or falls silent before the end."""
    assert refused(pages={"/a.png": page}, fetch_s=0.2) == "media_unreachable"


class Silent(Names):
    async def __call__(self, host, port):
        await asyncio.Event().wait()


def test_a_name_that_is_looked_up_for_ever_is_given_up():
    rules = MediaRules(allow_urls=True, fetch_s=0.05)
    wish = wanted(Image(""), 1, rules)
    fetching = Fetcher(rules, Silent()).fetch("http://pictures.example/a.png", wish, lambda count: None)
    with pytest.raises(MediaError) as error:
        asyncio.run(asyncio.wait_for(fetching, PATIENCE_S))
    assert error.value.code == "media_unreachable"


def test_all_fetches_together_are_given_up_too():
    class Never:
        async def fetch(self, address, wanted, spend):
            await asyncio.Event().wait()

    waiting = settle(MediaPolicy(MediaRules(allow_urls=True, fetch_s=0.01), Never()), Image("http://pictures.example/"))
    with pytest.raises(MediaError) as error:
        asyncio.run(asyncio.wait_for(waiting, PATIENCE_S))
    assert error.value.code == "media_unreachable"


def test_what_is_refused_is_not_kept_waiting_by_what_is_slow():
    parts = Image("http://pictures.example/a.png"), Image("data:nonsense")
    with pytest.raises(MediaError, match="image 2"):
        asyncio.run(asyncio.wait_for(settle(policy(names=Silent(), fetch_s=PATIENCE_S * 2), *parts), PATIENCE_S))


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "zstd"])
def test_what_comes_packed_is_refused(encoding):
    assert refused(pages={"/a.png": answer(content_encoding=encoding)}) == "media_unreachable"


@pytest.mark.parametrize(
    ("part", "media_type", "fits"),
    [
        (Image, "image/webp; x=1", True),
        (Image, "", True),
        (Image, "application/octet-stream", True),
        (Image, "text/html; charset=utf-8", False),
        (Image, "application/json", False),
        (Image, "video/mp4", False),
        (Video, "video/mp4", True),
        (Video, "image/gif", True),
        (Video, "image/png", False),
        (Audio, "audio/mpeg", True),
        (Audio, "text/plain", False),
    ],
)
def test_the_media_type_is_looked_at_loosely(part, media_type, fits):
    pages = {"/a": answer(content_type=media_type)}
    if fits:
        assert fetched("/a", pages=pages, part=part)[0] == PICTURE
    else:
        assert refused("/a", pages=pages, part=part) == "bad_media"


NOT_GOOD = (*(answer(status=status) for status in (404, 500, 206)), answer(b"", 204), b"nonsense\r\n\r\n", b"")


@pytest.mark.parametrize("page", NOT_GOOD)
def test_anything_but_a_good_answer_is_told(page):
    assert refused(pages={"/a.png": page}) == "media_unreachable"


def test_an_answer_that_is_cut_short_or_empty_is_told():
    assert refused(pages={"/a.png": answer(content_length=str(SIZE + 1))}) == "media_unreachable"
    assert refused(pages={"/a.png": answer(b"")}) == "bad_media"


def test_a_client_that_leaves_stops_its_fetches():
    async def run():
        async with serving({"/a.png": None}) as host:
            task = asyncio.ensure_future(settle(policy(host), Image(f"http://pictures.example:{host.port}/a.png")))
            while not host.heads:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return len(asyncio.all_tasks())

    assert asyncio.run(run()) <= 2
