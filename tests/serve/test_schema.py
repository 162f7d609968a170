"""Requests that are made up from the schema, right ones and wrong ones: none of them is the server's fault, and each is
answered in the shape that its protocol has for it."""

import json
from dataclasses import replace

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from jsonschema import Draft202012Validator, ValidationError
from schemathesis import GenerationMode

from engine.api.events import CacheCounts, CacheReport
from engine.api.request import CacheStats, CountTokens, EmbedRequest, ResetCaches
from engine.serve import error_response
from engine.serve.application import build_application
from engine.serve.board import Board
from tests.fake_engine import INFO, FakeEngine, finish
from tests.serve.live import scripted
from tests.serve.world import HEADERS, as_they_are, settings

REPORT = CacheReport(CacheCounts(), CacheCounts())
SCRIPTS = {
    CountTokens: finish(token_ids=(1, 2)),
    EmbedRequest: finish(embeddings=((0.6, 0.8),)),
    CacheStats: finish(cache=REPORT),
    ResetCaches: finish(cache=REPORT),
}
EXAMPLES = 12
DOCUMENT = build_application(FakeEngine().client, settings(), Board(), settle=as_they_are).api.openapi()
OPERATIONS = {
    operation.label: operation
    for operation in (result.ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations())
}


@pytest.fixture(scope="module")
def live():
    with scripted(SCRIPTS) as served:
        yield served


@pytest.fixture
def with_a_model(live):
    """Whatever became of it in the test before."""
    live.engine.status = replace(live.engine.status, model=INFO, loading="")
    # The engine looks at what it tells its watchers when a letter comes.
    live.client.cancel("nobody")
    live.known()


def check(answer, operation):
    """Of the shape that the schema says; a status that it does not name is an error."""
    status, kind = answer.status_code, answer.headers["content-type"][0]
    assert status < 500 or (status == 503 and answer.headers["retry-after"]), (status, answer.text)
    if kind.startswith("text/"):
        assert status == 200
        return
    declared = DOCUMENT["paths"][operation.path][operation.method]["responses"]
    form = declared.get(str(status), declared["default"])["content"]["application/json"]["schema"]
    assert status == 200 or form is declared["default"]["content"]["application/json"]["schema"]
    Draft202012Validator({**form, "components": DOCUMENT["components"]}).validate(json.loads(answer.content))


def can_be_wrong(operation):
    """Any text may be a piece of a path."""
    return bool(operation.body or operation.query)


CASES = [
    pytest.param(operation, mode, id=f"{label} {mode.value}")
    for label, operation in OPERATIONS.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or can_be_wrong(operation)
]


@pytest.mark.usefixtures("with_a_model")
@pytest.mark.parametrize(("operation", "mode"), CASES)
def test_no_request_breaks_anything(live, operation, mode):
    @given(case=operation.as_strategy(mode))
    @hypothesis_settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    def ask(case):
        check(case.call(base_url=live.base, headers=HEADERS), operation)

    ask()
    live.nothing_left()


def test_the_schema_has_the_routes():
    assert len(CASES) > 25


def test_an_error_that_the_schema_does_not_know_is_seen(live, monkeypatch):
    monkeypatch.setattr(error_response, "error_body", lambda protocol, failure: {"detail": failure.message})
    operation = OPERATIONS["POST /v1/messages"]
    with pytest.raises(ValidationError):
        check(
            operation.Case(body={}, media_type="application/json").call(base_url=live.base, headers=HEADERS), operation
        )
