"""What the local API promises: each line is held, and is seen not to be once what guards it is taken out."""

import asyncio
import hmac
import json
from dataclasses import dataclass, field

import pytest
from fastapi import APIRouter

from engine.api.errors import CheckpointError, HubError, InternalError, RequestError
from engine.api.events import LocalModel
from engine.api.request import GenerateRequest, ListModels, LoadModel, PullModel
from engine.serve import application, catalogue, failures, port, validation
from engine.serve import keys as serve_keys
from engine.serve.catalogue import Catalogue, Entry
from engine.serve.keys import KeyRing
from engine.serve.routes import health
from engine.serve.settings import LOOPBACK, ServeSettings
from tests.fake_engine import INFO, fail, finish
from tests.serve.world import KEY, OTHER_KEY, Visit, open_world

PAGE = "http://localhost:3000"
SECRET = "a-secret-that-nobody-may-read-again"


def let_through(app, *_, **__):
    return app


def without(guard):
    """Takes one layer out of the application."""
    return lambda patch: patch.setattr(application, guard, let_through)


@dataclass(frozen=True)
class Line:
    name: str
    check: object
    """Raises `AssertionError` where the promise is broken."""
    take_out: object
    fields: dict = field(default_factory=dict)
    scripts: dict = field(default_factory=dict)
    model: object = INFO


async def ask(world, path="/say", *, method="POST", body=None, headers=(), chunks=None, extra=()):
    """The whole answer to a request that is sent as it stands."""
    visit = Visit(world.built.app, path, method=method, body=body, headers=headers, chunks=chunks)
    for name, value in extra:
        visit.add_header(name, value)
    # What a route without its guard may raise was answered with 500, which is not what a check expects.
    await asyncio.gather(visit.task, return_exceptions=True)
    return visit


def every_route(world):
    """Each with a method that it has, and one that nobody has."""
    routes = [route for family in application._ROUTES for route in family.router(world.desk).routes]
    if len(routes) < 20:
        raise LookupError("the routes could not be listed")
    asked = [(route.path.replace("{model_id:path}", "owner/name"), min(route.methods)) for route in routes]
    return [*asked, ("/openapi.json", "GET"), ("/docs", "GET"), ("/no/such/route", "GET"), ("/health", "POST")]


# ---- who may ask


async def only_with_the_key(world):
    for path, method in every_route(world):
        for headers in (
            {"authorization": None},
            {"authorization": "Bearer not-the-key-of-these-tests"},
            {"authorization": f"Basic {KEY}"},
            {"authorization": None, "x-api-key": KEY[:-1]},
            {"authorization": f"Bearer {KEY}x"},
        ):
            if (path, method) == ("/health", "GET"):
                continue
            visit = await ask(world, path, method=method, headers=headers)
            assert visit.status == 401, (path, method, headers)
    for headers in ({}, {"authorization": None, "x-api-key": OTHER_KEY}, {"authorization": f"bearer {KEY}"}):
        assert (await ask(world, "/v1/models", method="GET", headers=headers)).status == 200


async def only_by_its_own_name(world):
    for path, method in [*every_route(world), ("/health", "GET")]:
        for host in (
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "127.0.0.1@evil.example",
            "127.0.0.1:8080:80",
            "[::1]evil.example",
            "[::1",
            "127.0.0.1:80a",
            "",
            ":8080",
        ):
            visit = await ask(world, path, method=method, headers={"host": host})
            assert visit.status in (400, 403), (path, host)
        assert (await ask(world, path, method=method, headers={"host": None})).status == 400
        twice = await ask(world, path, method=method, extra=[("host", "evil.example")])
        assert twice.status == 400
    for host in ("127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "[::1]", "mac.local:8080"):
        assert (await ask(world, "/health", method="GET", headers={"host": host})).status == 200, host


async def only_pages_of_an_allowed_origin(world):
    for path, method in [*every_route(world), ("/health", "GET"), ("/v1/models", "OPTIONS")]:
        for origin in ("http://evil.example", "null", f"{PAGE}.evil.example", "http://localhost:3001", "*"):
            visit = await ask(world, path, method=method, headers={"origin": origin})
            assert visit.status == 403, (path, origin)
            assert not told(visit, "access-control-allow-origin")
    allowed = await ask(world, "/v1/models", method="GET", headers={"origin": PAGE})
    assert allowed.status == 200
    assert told(allowed, "access-control-allow-origin") == [PAGE]
    refused = await ask(world, "/v1/models", method="GET", headers={"origin": PAGE, "authorization": None})
    assert refused.status == 401
    assert told(refused, "access-control-allow-origin") == [PAGE]
    asked = {
        "origin": PAGE,
        "authorization": None,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    preflight = await ask(world, method="OPTIONS", headers=asked)
    assert preflight.status == 204
    assert told(preflight, "access-control-allow-origin") == [PAGE]
    assert "POST" in told(preflight, "access-control-allow-methods")[0]
    assert told(preflight, "access-control-allow-headers") == ["authorization,content-type"]
    assert "access-control-allow-credentials" not in dict(preflight.sent[0]["headers"])


def told(visit, name):
    return [value.decode() for given, value in visit.sent[0]["headers"] if given == name.encode()]


# ---- what is read


async def only_bodies_that_are_json(world):
    for kind in (
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "text/plain; application/json",
    ):
        visit = await ask(world, body={"text": "Hello"}, headers={"content-type": kind})
        assert visit.status == 415, kind
    twice = await ask(world, body={"text": "Hello"}, extra=[("content-type", "text/plain")])
    assert twice.status == 415
    for kind in ("application/json", "Application/JSON; charset=utf-8"):
        assert (await ask(world, body={"text": "Hello"}, headers={"content-type": kind})).status == 200


async def only_bodies_of_some_size(world):
    large = json.dumps({"text": "x" * 2000}).encode()
    chunks = [large[at : at + 300] for at in range(0, len(large), 300)]
    for headers in ({}, {"content-length": "10"}, {"content-length": str(len(large))}, {"content-length": "9" * 30}):
        visit = await ask(world, chunks=chunks, headers=headers)
        assert visit.status == 413, headers
    # Not a byte of what says that it is too large is read.
    untouched = Visit(world.built.app, chunks=chunks, headers={"content-length": "5000"})
    await untouched.task
    assert len(untouched.chunks) == len(chunks)
    assert (await ask(world, body={"text": "x" * 200})).status == 200


async def only_bodies_that_arrive(world):
    visit = Visit(world.built.app, chunks=[b'{"text":', None])
    # Without a guard it would be waited for until the client leaves.
    await asyncio.wait([visit.task], timeout=0.5)
    status = visit.status
    visit.leave()
    await visit.task
    assert status == 408


# ---- what is told


async def nothing_of_what_was_sent_is_told_again(world):
    for body, route in (
        ({"messages": SECRET, "model": "starter"}, "/v1/chat/completions"),
        ({"messages": [{"role": SECRET, "content": "x"}]}, "/v1/chat/completions"),
        ({"messages": [{"role": "user", "content": [{"type": SECRET}]}]}, "/v1/chat/completions"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": SECRET}, "/v1/chat/completions"),
        ({"messages": [{"role": "user", "content": "x"}], "logit_bias": {SECRET: 1}}, "/v1/chat/completions"),
        ({"messages": [{"role": "user", "content": "x"}], "tool_choice": SECRET}, "/v1/chat/completions"),
        ({"messages": [{"role": "user", "content": "x"}], "model": SECRET}, "/v1/chat/completions"),
        ({"model": [SECRET]}, "/v1/models/load"),
    ):
        visit = await ask(world, route, body=body)
        assert 400 <= visit.status < 500, (visit.status, body)
        assert SECRET.encode() not in visit.body, visit.body
    broken = await ask(world, "/v1/chat/completions", chunks=[f'{{"model": {SECRET}'.encode()])
    assert broken.status == 400
    assert SECRET.encode() not in broken.body
    unknown = await ask(world, f"/v1/models/{SECRET}", method="GET")
    assert unknown.status == 404
    assert SECRET.encode() not in unknown.body


async def no_path_and_no_address_is_told(world):
    visit = await ask(world, body={"text": "Hello"})
    assert visit.status >= 400
    for private in (b"/Users", b"someone", b"my model", b"10.1.2.3", b"https:", b"weights.bin"):
        assert private not in visit.body, visit.body
    assert len(json.loads(visit.body)["error"]["message"]) > 10


async def folders_are_called_by_their_names_alone(world):
    listed = await ask(world, "/v1/models", method="GET")
    loaded = await ask(world, "/v1/models/qwen", method="GET")
    assert loaded.status == 200
    for visit in (listed, loaded):
        assert b"/Users" not in visit.body
        assert b"someone" not in visit.body


async def health_says_nothing_private(world):
    visit = await ask(world, "/health", method="GET", headers={"authorization": None})
    assert visit.status == 200
    assert set(json.loads(visit.body)) == {"status"}
    assert json.loads(visit.body)["status"] in ("ok", "loading", "no_model")


# ---- what is done


async def nothing_is_downloaded(world):
    for model in ("owner/elsewhere", "/Users/someone/qwen", "../../etc", "https://evil.example/model", "~"):
        for route in ("/v1/models/load", "/v1/chat/completions"):
            body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
            assert (await ask(world, route, body=body)).status == 404, model
    assert (await ask(world, "/v1/models/load", body={"model": "owner/here", "download": True})).status == 200
    loads = [request for request in world.engine.requests if isinstance(request, LoadModel | PullModel)]
    assert [request.source for request in loads] == ["owner/here"]
    assert not any(request.download for request in loads)


async def only_models_of_the_list(world):
    assert (await ask(world, "/v1/models/load", body={"model": "owner/here"})).status == 404
    assert b"owner/here" not in (await ask(world, "/v1/models", method="GET")).body
    assert not any(isinstance(request, LoadModel) for request in world.engine.requests)


async def keys_have_tenants_of_their_own(world):
    for key in (KEY, OTHER_KEY):
        await world.say(key=key)
    one, other = (request.tenant for request in world.engine.requests if isinstance(request, GenerateRequest))
    assert one != other
    assert "" not in (one, other)


def forget_the_salt(patch):
    patch.setattr(KeyRing, "tenant_of", lambda self, offered: "everybody")


def any_model(patch):
    """In place of the catalogue."""

    async def find(self, asked):
        return Entry(asked, asked, is_loaded=False)

    patch.setattr(Catalogue, "find", find)


def raw_words(patch):
    patch.setattr(failures, "_PLAIN", {})
    patch.setattr(failures, "scrubbed", lambda message: message)


def raw_validation(patch):
    patch.setattr(validation, "scrubbed", lambda message: message)
    patch.setattr(validation, "field_name", lambda place, names: ".".join(map(str, place)))
    patch.setattr(failures, "scrubbed", lambda message: message)

    def refused(error, names):
        return failures.Refused(str(error.errors()), status=422)

    patch.setattr(application, "refused_body", refused)


def folders_as_they_are(patch):
    patch.setattr(catalogue, "id_of", lambda source: source)


def talkative_health(patch):
    def router(desk):
        routes = APIRouter()
        routes.add_api_route("/health", lambda: {"status": "ok", "model": desk.board.model.name})
        return routes

    patch.setattr(health, "router", router)


HERE = finish(models=(LocalModel("owner/here", "/Users/someone/here", "fake", 1),))
FOLDER = "/Users/someone/models/qwen"
PRIVATE = (
    CheckpointError("/Users/someone/my model/weights.bin is cut short.", "Copy /Users/someone/my model anew."),
    HubError("https://hub.example/x at 10.1.2.3 says no.", "See /Users/someone/cache."),
    InternalError("KeyError: '/Users/someone/my model'"),
    RequestError("There is no tool called 'https://someone'. See /Users/someone or 10.1.2.3:80."),
)

LINES = (
    Line("key", only_with_the_key, without("KeyGuard")),
    Line("host", only_by_its_own_name, without("HostGuard"), {"allowed_hosts": ("mac.local",)}),
    Line("origin", only_pages_of_an_allowed_origin, without("OriginGuard"), {"allowed_origins": (PAGE,)}),
    Line("content type", only_bodies_that_are_json, without("ContentTypeGuard")),
    Line("body size", only_bodies_of_some_size, without("BodySizeGuard"), {"limits": {"max_body_bytes": 1000}}),
    Line("body time", only_bodies_that_arrive, without("BodySizeGuard"), {"limits": {"body_s": 0.02}}),
    Line("echo", nothing_of_what_was_sent_is_told_again, raw_validation),
    *(
        Line(
            f"paths in {error.code}", no_path_and_no_address_is_told, raw_words, scripts={GenerateRequest: fail(error)}
        )
        for error in PRIVATE
    ),
    Line(
        "folders",
        folders_are_called_by_their_names_alone,
        folders_as_they_are,
        {"loads": (LoadModel(FOLDER),)},
        {ListModels: HERE},
    ),
    Line("health", health_says_nothing_private, talkative_health),
    Line("download", nothing_is_downloaded, any_model, scripts={ListModels: HERE}),
    Line("models", only_models_of_the_list, any_model, {"models": ("owner/other",)}, {ListModels: HERE}),
    Line("tenants", keys_have_tenants_of_their_own, forget_the_salt),
)


async def held(line):
    async with open_world(line.scripts, model=line.model, **line.fields) as world:
        await line.check(world)


def test_nobody_but_this_machine_is_listened_to():
    assert ServeSettings(keys=(KEY,)).host == LOOPBACK
    with port.listen(ServeSettings(keys=(KEY,)).host, 0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


NAKED = (
    {},
    {"host": "0.0.0.0"},
    {"host": "192.168.1.2", "key_required": False},
    {"host": "::", "key_required": False},
    {"host": "0.0.0.0", "keys": (KEY,), "key_required": False},
    {"keys": ("short",)},
    {"keys": ("",)},
    {"keys": ("x" * 20 + "\n",)},
    {"keys": (KEY,), "allowed_origins": ("*",)},
    {"keys": (KEY,), "allowed_origins": ("http://*.example",)},
    {"keys": (KEY,), "allowed_hosts": ("*",)},
)


@pytest.mark.parametrize("fields", NAKED, ids=str)
def test_no_settings_let_just_anybody_in(fields):
    with pytest.raises(RequestError):
        ServeSettings(**fields)


@pytest.mark.parametrize("fields", [{"key_required": False}, {"host": "localhost", "key_required": False}], ids=str)
def test_this_machine_may_do_without_a_key_where_that_is_asked_for(fields):
    assert not ServeSettings(**fields).key_required


def test_keys_are_compared_in_constant_time(monkeypatch):
    compared, compare_digest = [], hmac.compare_digest

    def compare(given, key):
        compared.append(given)
        return compare_digest(given, key)

    ring = KeyRing((KEY, OTHER_KEY))
    monkeypatch.setattr(serve_keys.hmac, "compare_digest", compare)
    ring.tenant_of([KEY])
    ring.tenant_of(["wrong", "wröng"])
    # With each key, also after one that is right.
    assert len(compared) == 6


def test_without_a_key_nothing_is_settled_or_admitted():
    async def main():
        async with open_world() as world:
            await ask(world, body={"text": "Hello"}, headers={"authorization": None})
            assert not any(isinstance(request, GenerateRequest) for request in world.engine.requests)
            assert world.log[-1].error == "invalid_api_key"

    asyncio.run(main())


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_it_is_held(line):
    asyncio.run(held(line))


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_it_is_not_held_without_its_guard(line, monkeypatch):
    line.take_out(monkeypatch)
    with pytest.raises(AssertionError):
        asyncio.run(held(line))
