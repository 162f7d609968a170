"""What a client is told: the status, the code, and nothing that is not for it."""

import asyncio
import json

import pytest

from engine.api.errors import EngineError, Fault, InternalError, NoModelError, RequestError
from engine.api.events import Failed
from engine.serve.failures import (
    Failure,
    Protocol,
    Refused,
    error_body,
    failure_of,
    protocol_of,
    retry_header,
    scrubbed,
)
from tests.serve.world import open_world


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("Out of range."), 400),
        (RequestError("Gone.", code="model_changed"), 503),
        (NoModelError("None."), 503),
        (EngineError("Broken."), 500),
        (EngineError("Wrong.", fault=Fault.USER), 400),
        (InternalError("KeyError"), 500),
        (Refused("No.", status=418, code="tea"), 418),
    ],
)
def test_each_has_its_status(error, status):
    assert failure_of(error).status == status
    assert failure_of(Failed.from_error("r1", error)).code == error.code


def test_openai_s_form():
    failure = Failure(429, "rate_limit_exceeded", "Too much.", "n")
    told = {"message": "Too much.", "type": "rate_limit_error", "param": "n", "code": "rate_limit_exceeded"}
    assert error_body(Protocol.OPENAI, failure) == {"error": told}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
    ],
)
def test_anthropic_s_form(status, kind):
    body = error_body(Protocol.ANTHROPIC, Failure(status, "code", "Words."))
    assert body["type"] == "error"
    assert body["error"] == {"type": kind, "message": "Words."}


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v1/messages", Protocol.ANTHROPIC),
        ("/v1/messages/count_tokens", Protocol.ANTHROPIC),
        ("/v1/messagesx", Protocol.OPENAI),
        ("/v1/chat/completions", Protocol.OPENAI),
        ("/", Protocol.OPENAI),
    ],
)
def test_the_route_says_which(path, protocol):
    assert protocol_of(path) is protocol


def test_coming_back_is_in_whole_seconds():
    assert retry_header(Failure(503, "", "", retry_after_s=0.1)) == {"retry-after": "1"}
    assert retry_header(Failure(503, "", "", retry_after_s=2.2)) == {"retry-after": "3"}
    assert retry_header(Failure(400, "", "")) == {}


@pytest.mark.parametrize(
    "private",
    [
        "/Users/someone/x.png",
        "/v1/models/someone",
        "~/x.png",
        "../../etc/passwd",
        "C:\\Users\\someone",
        "https://someone.example/x?key=1",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "10.1.2.3:8080",
        "fe80::1",
        "'what was sent'",
        '"what was sent"',
    ],
)
@pytest.mark.parametrize("sentence", ["{}", "See {} for it.", "It is ({}).", "It is at {}: cut short."])
def test_paths_addresses_and_quotations_are_taken_out(private, sentence):
    told = scrubbed(sentence.format(private))
    assert private not in told
    assert "someone" not in told
    assert "…" in told


@pytest.mark.parametrize(
    "plain",
    [
        "max_tokens is -1; it has to be at least 1. Leave it out for no limit.",
        "The picture is 10 x 20 pixels, more than the 100 in all that are opened.",
        "Send `Authorization: Bearer KEY` or/and x-api-key.",
        "It doesn't fit, and the model's context isn't larger.",
        "See /v1/models for those that there are.",
    ],
)
def test_plain_words_stay_as_they_are(plain):
    assert scrubbed(plain) == plain


def test_an_error_says_which_request_it_was():
    async def main():
        async with open_world() as world:
            answer = await world.http.post("/v1/messages", json={}, headers={"authorization": "none"})
            assert answer.status_code == 401
            assert answer.json()["request_id"] == answer.headers["request-id"]

    asyncio.run(main())


def test_every_body_is_json():
    for protocol in Protocol:
        assert json.dumps(error_body(protocol, RequestError("Out of \ud800 range.")))
