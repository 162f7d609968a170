"""Requests that are made up from the schema: none of them is the server's fault."""

from contextlib import contextmanager

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings

from engine.api.events import CacheCounts, CacheReport
from engine.api.request import CacheStats, CountTokens, EmbedRequest, ResetCaches
from engine.serve.server import Server
from tests.fake_engine import finish
from tests.serve.world import HEADERS, ServedEngine, settings, wait_for_model

REPORT = CacheReport(CacheCounts(), CacheCounts())
SCRIPTS = {
    CountTokens: finish(token_ids=(1, 2)),
    EmbedRequest: finish(embeddings=((0.6, 0.8),)),
    CacheStats: finish(cache=REPORT),
    ResetCaches: finish(cache=REPORT),
}
EXAMPLES = 6


@contextmanager
def serving():
    engine = ServedEngine(SCRIPTS)
    with engine:
        server = Server(engine.client, settings(port=0))
        server.start()
        wait_for_model(server)
        try:
            yield server.address
        finally:
            server.stop(0)


@pytest.fixture(scope="module")
def address():
    with serving() as found:
        yield found


def test_no_request_that_the_schema_allows_breaks_anything(address):
    schema = httpx2.get(f"{address}/openapi.json", headers=HEADERS).json()
    operations = [result.ok() for result in schemathesis.openapi.from_dict(schema).get_all_operations()]
    assert len(operations) > 15
    # What takes the model away comes last.
    for operation in sorted(operations, key=lambda each: each.path.endswith("/unload")):

        @given(case=operation.as_strategy())
        @hypothesis_settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        def ask(case):
            answer = case.call(base_url=address, headers=HEADERS)
            assert answer.status_code < 500, (answer.status_code, answer.text)

        ask()
