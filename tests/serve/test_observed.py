"""What is counted and logged of requests, and what is not."""

import asyncio
import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.api.errors import NoModelError
from engine.api.events import CacheCounts, CacheReport
from engine.api.request import CacheStats, GenerateRequest, ResetCaches
from tests.fake_engine import USAGE, WAIT, fail, finish, speak
from tests.serve.world import KEY, open_world

REPORT = CacheReport(CacheCounts(hits=3, misses=1, bytes=1000), CacheCounts(hits=2, bytes=50), CacheCounts(bytes=7))
CACHES = {CacheStats: finish(cache=REPORT), ResetCaches: finish(cache=CacheReport(CacheCounts(), CacheCounts()))}
SECRET = "nobody-may-read-this"


async def numbers(world):
    answer = await world.http.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_answers_are_counted():
    async def main():
        async with open_world({GenerateRequest: speak("a", "b", "c"), **CACHES}) as world:
            await world.say()
            await world.say(stream=True)
            await world.http.get("/v1/models/no/such")
            await world.http.get(f"/{SECRET}")
            told = await numbers(world)
            assert told["fovea_http_requests_total", "/say", "200"] == 2
            assert told["fovea_http_requests_total", "/v1/models/{model_id:path}", "404"] == 1
            assert told["fovea_http_requests_total", "(none)", "404"] == 1
            assert told["fovea_prompt_tokens_total",] == 2 * USAGE.prompt_tokens
            assert told["fovea_completion_tokens_total",] == 2 * USAGE.completion_tokens
            for name, count in (("queue", 2), ("time_to_first_token", 2), ("inter_token", 4), ("answer", 2)):
                assert told[f"fovea_{name}_seconds_count",] == count, name
            assert told["fovea_requests_running",] == told["fovea_requests_waiting",] == 0
            assert told["fovea_memory_bytes",] == 5_000_000
            assert told["fovea_cache_bytes", "prefixes"] == 1000
            assert told["fovea_cache_hits_total", "features"] == 2
            assert told["fovea_model_loaded",] == 1
            assert not any(SECRET in name for key in told for name in key)

    asyncio.run(main())


def test_caches_are_shown_as_last_known_while_the_engine_is_busy(monkeypatch):
    monkeypatch.setattr("engine.serve.desk._CACHE_S", 0.01)

    def never(request_id, request):
        while True:
            yield WAIT

    async def main():
        async with open_world({CacheStats: never}) as world:
            world.desk.metrics.cache = REPORT
            assert (await numbers(world))["fovea_cache_bytes", "disk"] == 7
            await world.nothing_left()

    asyncio.run(main())


def test_without_a_model_there_are_still_numbers():
    async def main():
        async with open_world({CacheStats: fail(NoModelError("None."))}, model=None) as world:
            assert (await numbers(world))["fovea_model_loaded",] == 0

    asyncio.run(main())


def test_two_applications_count_for_themselves():
    async def main():
        async with open_world(CACHES) as one, open_world(CACHES) as other:
            await one.say()
            assert ("fovea_http_requests_total", "/say", "200") in await numbers(one)
            assert ("fovea_http_requests_total", "/say", "200") not in await numbers(other)

    asyncio.run(main())


def test_one_entry_a_request():
    async def main():
        async with open_world() as world:
            answer = await world.say(SECRET)
            refused = await world.say(SECRET, key="not-a-key")
            assert [(entry.route, entry.status, entry.error) for entry in world.log] == [
                ("/say", 200, ""),
                ("(none)", 401, "invalid_api_key"),
            ]
            entry = world.log[0]
            assert entry.usage == USAGE
            assert (entry.client, entry.method, entry.model) == ("127.0.0.1", "POST", "shown")
            assert entry.duration_ms > 0
            assert SECRET not in repr(world.log)
            assert KEY not in repr(world.log)
            ids = [re.fullmatch("[0-9a-f]{24}", each.headers["x-request-id"])[0] for each in (answer, refused)]
            assert len(set(ids)) == 2
            assert answer.headers["request-id"] == ids[0]

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_bodies_only_where_that_is_asked_for(stream):
    async def main():
        async with open_world(log_bodies=True) as world:
            await world.say(SECRET, stream=stream)
            assert (world.log[0].question, world.log[0].answer) == (SECRET, "Hello world")
            assert KEY not in repr(world.log)

    asyncio.run(main())


def test_caches_are_told_and_reset():
    async def main():
        async with open_world(CACHES) as world:
            told = (await world.http.get("/v1/cache/stats")).json()
            assert told["prefixes"]["hits"] == 3
            assert (await world.http.post("/v1/cache/reset")).json()["disk"] is None
            assert any(isinstance(request, ResetCaches) for request in world.engine.requests)

    asyncio.run(main())


def test_a_body_that_does_not_fit_names_its_field():
    async def main():
        async with open_world() as world:
            for body, status, param in (
                ({"messages": [{"role": "user", "content": "x"}], "temperature": -1}, 422, "temperature"),
                ({"messages": [{"role": "user", "content": "x"}], "logit_bias": {SECRET: 1}}, None, "logit_bias"),
                ({"messages": [{"content": "x"}]}, 422, "messages.0.role"),
                ({}, 422, "messages"),
            ):
                answer = await world.http.post("/v1/chat/completions", json=body)
                assert answer.status_code in (400, 422)
                assert status in (None, answer.status_code)
                assert answer.json()["error"]["param"] == param
            broken = await world.http.post(
                "/v1/chat/completions", content=b"{", headers={"content-type": "application/json"}
            )
            assert (broken.status_code, broken.json()["error"]["code"]) == (400, "invalid_json")
            deep = await world.http.post(
                "/v1/chat/completions", content=b"[" * 100_000, headers={"content-type": "application/json"}
            )
            assert deep.status_code == 400
            wrong = await world.http.put("/v1/models")
            assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "http_405")

    asyncio.run(main())


def test_the_schema_is_behind_the_key_and_tells_of_the_routes():
    async def main():
        async with open_world() as world:
            schema = (await world.http.get("/openapi.json")).json()
            assert "/v1/chat/completions" in schema["paths"]
            assert json.dumps(schema).count(KEY) == 0
            assert (await world.http.get("/docs")).status_code == 404

    asyncio.run(main())


def test_more_likely_tokens_than_the_settings_allow_are_refused():
    async def main():
        async with open_world(top_logprobs=2) as world:
            body = {"messages": [{"role": "user", "content": "x"}], "logprobs": True, "top_logprobs": 3}
            answer = await world.http.post("/v1/chat/completions", json=body)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "top_logprobs")
            assert (await world.http.post("/v1/chat/completions", json=body | {"top_logprobs": 2})).status_code == 200

    asyncio.run(main())
