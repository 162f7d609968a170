"""Answers over HTTP: streamed or whole, late or refused, and what is left when a client goes."""

import asyncio
import json

import pytest

from engine.api.errors import ContextError, EngineError, MediaError
from engine.api.events import Failed, Finished, FinishReason, Progress, Stage, TextDelta
from engine.api.request import GenerateRequest, Priority
from tests.fake_engine import USAGE, WAIT, fail, speak, speak_until_cancelled
from tests.serve.world import KEY, OTHER_KEY, Visit, events_of, open_world


def wait_for_ever(request_id, request):
    """An answer whose turn never comes."""
    while True:
        yield WAIT


def read_for_ever(request_id, request):
    """A prompt that is being read, and read, and read."""
    yield Progress(request_id, Stage.PREFILL, 1, 1000)
    while True:
        yield WAIT


def stream_of(world, **options):
    return Visit(world.built.app, body={"text": "Hello", "stream": True}, **options)


def whole_of(world, **options):
    return Visit(world.built.app, body={"text": "Hello"}, **options)


def test_whole_and_streamed_say_the_same():
    async def main():
        async with open_world() as world:
            whole = await world.say()
            streamed = await world.say(stream=True)
            assert whole.json() == {"text": "Hello world", "model": "shown"}
            opening, *pieces, end = events_of(streamed.text)
            assert json.loads(opening)["model"] == "shown"
            assert [json.loads(piece)["text"] for piece in pieces] == ["Hello", " world"]
            assert end == "stop"
            assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "event: piece\n" in streamed.text
            await world.nothing_left()

    asyncio.run(main())


def test_the_engine_is_asked_for_a_key_s_own_tenant_and_behind_the_window():
    async def main():
        async with open_world(template_options=(("enable_thinking", True),)) as world:
            await world.say()
            await world.say()
            await world.say(key=OTHER_KEY)
            asked = [request for request in world.engine.requests if isinstance(request, GenerateRequest)]
            first, again, other = (request.tenant for request in asked)
            assert first == again != other
            assert KEY not in first
            assert all(request.priority is Priority.API for request in asked)
            assert asked[0].template_options == (("enable_thinking", True),)
            assert asked[0].model == "starter"

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_anything_was_sent_is_told_by_the_status(stream):
    async def main():
        async with open_world({GenerateRequest: fail(ContextError("Too long.", "Shorten it."))}) as world:
            answer = await world.say(stream=stream)
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "context_length_exceeded"
            assert answer.json()["error"]["message"] == "Too long. Shorten it."
            await world.nothing_left()

    asyncio.run(main())


def test_a_failure_after_that_goes_into_the_stream():
    def script(request_id, request):
        yield TextDelta(request_id, "Half")
        raise EngineError("It broke.", code="internal")

    async def main():
        async with open_world({GenerateRequest: script}) as world:
            answer = await world.say(stream=True)
            assert answer.status_code == 200
            assert json.loads(events_of(answer.text)[-1])["error"]["code"] == "internal"
            assert world.log[-1].error == "internal"
            whole = await world.say()
            assert whole.status_code == 500
            await world.nothing_left()

    asyncio.run(main())


def test_what_settles_media_refuses_with_the_place_given_back():
    async def refuse(request):
        raise MediaError("The picture is no picture.")

    async def main():
        async with open_world(settle=refuse) as world:
            assert (await world.say(stream=True)).status_code == 400
            assert not any(isinstance(request, GenerateRequest) for request in world.engine.requests)
            await world.nothing_left()

    asyncio.run(main())


@pytest.mark.parametrize("script", [wait_for_ever, read_for_ever, speak_until_cancelled("Hello")])
@pytest.mark.parametrize("ask", [stream_of, whole_of])
def test_a_client_that_leaves_is_cancelled_and_leaves_nothing_behind(script, ask):
    async def main():
        async with open_world({GenerateRequest: script}) as world:
            visit = ask(world)
            await world.until(lambda: world.engine.under_way)
            tasks = len(asyncio.all_tasks())
            visit.leave()
            await visit.task
            await world.nothing_left()
            assert len(asyncio.all_tasks()) < tasks
            assert world.log[-1].cancelled
            assert b"fovea_cancellations_total 1.0" in world.desk.metrics.text()

    asyncio.run(main())


def test_a_client_that_leaves_while_its_media_are_settled_never_reaches_the_engine():
    settling = asyncio.Event

    async def main():
        begun, forever = settling(), settling()

        async def settle(request):
            begun.set()
            await forever.wait()

        async with open_world(settle=settle) as world:
            visit = stream_of(world)
            await begun.wait()
            assert world.desk.admission.waiting == 1
            visit.leave()
            await visit.task
            await world.nothing_left()
            assert not any(isinstance(request, GenerateRequest) for request in world.engine.requests)

    asyncio.run(main())


def test_a_place_is_taken_until_the_engine_has_ended_too():
    async def main():
        async with open_world({GenerateRequest: wait_for_ever}) as world:
            cancelled = []
            world.engine.client.cancel, cancel = cancelled.append, world.engine.client.cancel
            visit = stream_of(world)
            await world.until(lambda: world.engine.under_way)
            visit.leave()
            await visit.task
            assert world.desk.admission.waiting == 1
            cancel(cancelled[0])
            await world.nothing_left()

    asyncio.run(main())


def test_a_stream_that_is_silent_says_that_it_is_alive():
    async def main():
        async with open_world({GenerateRequest: read_for_ever}, limits={"keep_alive_s": 0.01}) as world:
            visit = stream_of(world)
            await world.until(lambda: visit.body.count(b": keep-alive\n\n") > 3)
            assert visit.status == 200
            visit.leave()
            await visit.task
            await world.nothing_left()

    asyncio.run(main())


def test_one_that_waits_for_its_turn_has_not_begun():
    """So that its status can still say that it never came."""

    async def main():
        limits = {"keep_alive_s": 0.001, "queue_s": 0.05}
        async with open_world({GenerateRequest: wait_for_ever}, limits=limits) as world:
            for stream in (True, False):
                answer = await world.say(stream=stream)
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "queue_timeout"
                assert int(answer.headers["retry-after"]) >= 1
            await world.nothing_left()

    asyncio.run(main())


def test_a_slow_reader_keeps_neither_the_engine_nor_others_waiting():
    words = [f"{number} " for number in range(300)]

    async def main():
        async with open_world({GenerateRequest: speak(*words)}) as world:
            reads = asyncio.Event()
            slow = stream_of(world)

            async def before_send(message):
                await reads.wait()

            slow.before_send = before_send
            await world.until(lambda: any(isinstance(r, GenerateRequest) for r in world.engine.requests))
            await world.until(lambda: not world.engine.under_way)
            assert (await world.say()).json()["text"] == "".join(words)
            assert not slow.sent
            reads.set()
            await slow.task
            told = [json.loads(data) for data in events_of(slow.body.decode())[1:-1]]
            assert "".join(piece["text"] for piece in told) == "".join(words)
            # What had piled up went in one piece.
            assert len(slow.sent) < 10
            await world.nothing_left()

    asyncio.run(main())


def test_one_that_reads_nothing_at_all_is_given_up():
    async def main():
        async with open_world({GenerateRequest: speak_until_cancelled("Hello")}, limits={"send_s": 0.01}) as world:
            stuck = stream_of(world)

            async def before_send(message):
                if message["type"] == "http.response.body":
                    await asyncio.Event().wait()

            stuck.before_send = before_send
            await stuck.task
            assert not stuck.is_whole
            assert world.log[-1].cancelled
            await world.nothing_left()

    asyncio.run(main())


def test_places_run_out_at_once_and_before_anything_is_settled():
    async def main():
        settled = []

        async def settle(request):
            settled.append(request)
            return request

        limits = {"max_running": 1, "max_queue": 1}
        async with open_world({GenerateRequest: wait_for_ever}, settle=settle, limits=limits) as world:
            visits = [stream_of(world) for _ in range(2)]
            await world.until(lambda: len(world.engine.under_way) == 2)
            answer = await world.say()
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) >= 1
            assert len(settled) == 2
            for visit in visits:
                visit.leave()
            await world.nothing_left()
            metrics = world.desk.metrics.text().decode()
            assert 'fovea_rejections_total{reason="queue_full"} 1.0' in metrics

    asyncio.run(main())


def test_one_key_has_its_share_and_others_theirs():
    async def main():
        async with open_world({GenerateRequest: wait_for_ever}, limits={"max_per_key": 1}) as world:
            visit = stream_of(world)
            await world.until(lambda: world.engine.under_way)
            answer = await world.say()
            assert answer.status_code == 429
            assert answer.json()["error"]["type"] == "rate_limit_error"
            assert int(answer.headers["retry-after"]) >= 1
            other = stream_of(world, headers={"authorization": f"Bearer {OTHER_KEY}"})
            await world.until(lambda: len(world.engine.under_way) == 2)
            for each in (visit, other):
                each.leave()
            await world.nothing_left()

    asyncio.run(main())


def test_a_server_that_is_stopped_ends_answers_with_a_word():
    async def main():
        async with open_world({GenerateRequest: speak_until_cancelled("Hello")}) as world:
            visit = stream_of(world)
            await world.until(lambda: b"Hello" in visit.body)
            world.desk.admission.close()
            assert (await world.say()).json()["error"]["code"] == "stopping"
            world.desk.stop_answers()
            await visit.task
            assert visit.is_whole
            assert json.loads(events_of(visit.body.decode())[-1])["error"]["code"] == "stopping"
            assert [entry.error for entry in world.log] == ["stopping", "stopping"]
            await world.nothing_left()

    asyncio.run(main())


def test_sixty_four_clients_some_of_which_leave():
    def script(request_id, request):
        yield Progress(request_id, Stage.PREFILL, 1, 1)
        for number in range(20):
            yield TextDelta(request_id, f"{number} ")
        yield Finished(request_id, FinishReason.STOP, USAGE)

    async def main():
        limits = {"max_running": 8, "max_queue": 56, "max_per_key": 64}
        async with open_world({GenerateRequest: script}, limits=limits) as world:
            visits = [Visit(world.built.app, body={"text": "x", "stream": i % 2 == 0}) for i in range(64)]
            for visit in visits[::3]:
                await asyncio.sleep(0)
                visit.leave()
            await asyncio.gather(*(visit.task for visit in visits))
            stayed = [visit for number, visit in enumerate(visits) if number % 3]
            assert {(visit.status, visit.is_whole) for visit in stayed} == {(200, True)}
            await world.nothing_left()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_failed_event_needs_no_first_one():
    def script(request_id, request):
        yield Failed.from_error(request_id, EngineError("No.", code="busy"))

    async def main():
        async with open_world({GenerateRequest: script}) as world:
            answer = await world.say(stream=True)
            assert answer.status_code == 503
            assert "retry-after" in answer.headers

    asyncio.run(main())
