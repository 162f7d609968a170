"""Which models a request may name, by what ids, and what happens to requests while one is loaded."""

import asyncio
from dataclasses import replace

import pytest

from engine.api.errors import CheckpointError
from engine.api.events import Finished, FinishReason, LocalModel
from engine.api.request import GenerateRequest, ListModels, LoadModel, UnloadModel
from engine.serve.catalogue import id_of
from tests.fake_engine import INFO, WAIT, fail, finish
from tests.serve.world import Visit, open_world

LOCAL = finish(
    models=(
        LocalModel("starter", "/models/starter", "fake", 1),
        LocalModel("owner/name", "/hub/owner/name", "llama", 1),
        LocalModel("owner/broken", "/hub/owner/broken", "", 1, "It has no config.json."),
    )
)
FOLDER = "/Users/someone/models/qwen"


def loads_of(world):
    return [request for request in world.engine.requests if isinstance(request, LoadModel)]


def slowly(release):
    """Loads once `release` is set."""

    def script(request_id, request):
        engine = release.engine
        engine.status = replace(engine.status, loading=request.source)
        yield replace(engine.status, request_id=request_id)
        while not release.is_set():
            yield WAIT
        yield from engine.load(request_id, request)

    return script


def test_models_on_this_machine_are_listed_and_the_loaded_one_is_marked():
    async def main():
        async with open_world({ListModels: LOCAL}) as world:
            for path in ("/v1/models", "/models"):
                listed = (await world.http.get(path)).json()
                assert listed["object"] == "list"
                assert [(model["id"], model["loaded"]) for model in listed["data"]] == [
                    ("starter", True),
                    ("owner/name", False),
                ]
            for path in ("/v1/models/owner/name", "/models/owner/name", "/v1/models/owner%2Fname"):
                assert (await world.http.get(path)).json()["id"] == "owner/name"
            assert (await world.http.get("/v1/models/owner/broken")).status_code == 404

    asyncio.run(main())


@pytest.mark.parametrize("source", ["starter", "owner/name", "tiny"])
def test_a_repository_is_its_own_id(source):
    assert id_of(source) == source


@pytest.mark.parametrize("source", [FOLDER, FOLDER + "/", "../models/qwen", "~/qwen", "./qwen", "a/b/qwen"])
def test_a_folder_is_called_by_its_name(source):
    assert id_of(source) == "qwen"


def test_no_name_means_the_loaded_one():
    async def main():
        async with open_world() as world:
            for model in (None, "", "starter"):
                assert (await world.say(model=model)).status_code == 200
            assert not loads_of(world)

    asyncio.run(main())


def test_naming_another_loads_it_as_the_settings_say():
    known = LoadModel(FOLDER, draft_model="owner/draft", download=True)

    async def main():
        async with open_world({ListModels: LOCAL}, loads=(known,)) as world:
            assert (await world.say(model="owner/name")).status_code == 200
            assert (await world.say(model="qwen")).status_code == 200
            assert (await world.say(model="qwen")).status_code == 200
            assert (await world.say()).status_code == 200
            assert loads_of(world) == [LoadModel("owner/name"), replace(known, download=False)]
            asked = [request.model for request in world.engine.requests if isinstance(request, GenerateRequest)]
            assert asked == ["owner/name", FOLDER, FOLDER, FOLDER]

    asyncio.run(main())


def test_one_that_the_settings_tell_how_to_load_is_listed_wherever_it_is():
    async def main():
        async with open_world({ListModels: LOCAL}, loads=(LoadModel("tiny"),), models=("owner/name", FOLDER)) as world:
            listed = (await world.http.get("/v1/models")).json()["data"]
            assert [model["id"] for model in listed] == ["starter", "owner/name", "tiny", "qwen"]
            assert (await world.say(model="tiny")).status_code == 200

    asyncio.run(main())


def test_without_switching_only_the_loaded_one_answers():
    async def main():
        async with open_world({ListModels: LOCAL}, switching=False) as world:
            answer = await world.say(model="owner/name")
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "model_not_loaded"
            assert (await world.say(model="starter")).status_code == 200

    asyncio.run(main())


def test_without_a_model_there_is_no_answer():
    async def main():
        async with open_world(model=None) as world:
            answer = await world.say()
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "no_model"
            assert (await world.http.get("/health")).json() == {"status": "no_model"}

    asyncio.run(main())


def test_while_one_loads_others_are_told_to_come_back_and_health_answers():
    async def main():
        release = asyncio.Event()
        async with open_world({ListModels: LOCAL, LoadModel: slowly(release)}) as world:
            release.engine = world.engine
            loading = asyncio.ensure_future(world.say(model="owner/name"))
            await world.until(lambda: world.board.loading)
            listed = len([request for request in world.engine.requests if isinstance(request, ListModels)])
            assert (await world.http.get("/health")).json() == {"status": "loading"}
            for model in ("owner/name", "starter", None):
                answer = await world.say(model=model)
                assert answer.status_code == 503
                assert answer.json()["error"]["code"] == "model_loading"
                assert int(answer.headers["retry-after"]) >= 1
            assert (await world.http.post("/v1/models/unload")).status_code == 503
            # The engine, which is busy, was not asked for any of it.
            assert len([request for request in world.engine.requests if isinstance(request, ListModels)]) == listed
            release.set()
            world.engine.client.cancel("wake up")
            assert (await loading).status_code == 200
            assert (await world.http.get("/health")).json() == {"status": "ok"}

    asyncio.run(main())


def test_a_load_goes_on_when_its_client_goes():
    async def main():
        release = asyncio.Event()
        async with open_world({ListModels: LOCAL, LoadModel: slowly(release)}) as world:
            release.engine = world.engine
            visit = Visit(world.built.app, body={"text": "x", "model": "owner/name"})
            await world.until(lambda: world.board.loading)
            visit.leave()
            release.set()
            world.engine.client.cancel("wake up")
            await visit.task
            assert (await world.say(model="owner/name")).status_code == 200
            assert len(loads_of(world)) == 1
            await world.nothing_left()

    asyncio.run(main())


def test_a_load_that_fails_is_told_and_over():
    async def main():
        scripts = {ListModels: LOCAL, LoadModel: fail(CheckpointError("/x is cut short.", "Copy it."))}
        async with open_world(scripts) as world:
            for _ in range(2):
                answer = await world.say(model="owner/name")
                assert answer.status_code == 500
                assert answer.json()["error"]["code"] == "bad_checkpoint"
            assert (await world.say()).status_code == 200

    asyncio.run(main())


def test_a_load_that_somebody_cancels_is_no_model():
    def cancelled(request_id, request):
        yield Finished(request_id, FinishReason.CANCELLED)

    async def main():
        async with open_world({ListModels: LOCAL, LoadModel: cancelled}) as world:
            assert (await world.say(model="owner/name")).status_code == 503

    asyncio.run(main())


def test_loading_and_unloading_by_request():
    async def main():
        async with open_world({ListModels: LOCAL}) as world:
            assert (await world.http.post("/v1/models/load", json={"model": "starter"})).status_code == 200
            assert not loads_of(world)
            answer = await world.http.post("/v1/models/load", json={"model": "owner/name", "adapter_path": "/x"})
            assert answer.json() == {"status": "loaded", "model": "owner/name"}
            assert loads_of(world) == [LoadModel("owner/name")]
            for path in ("/v1/models/unload", "/unload"):
                assert (await world.http.post(path)).json() == {"status": "unloaded"}
                assert world.board.model is None
            assert (await world.say()).status_code == 503
            assert sum(isinstance(request, UnloadModel) for request in world.engine.requests) == 2

    asyncio.run(main())


def test_a_list_that_the_engine_has_no_time_for_is_given_up():
    def never(request_id, request):
        while True:
            yield WAIT

    async def main():
        async with open_world({ListModels: never}, limits={"side_s": 0.01}) as world:
            answer = await world.http.get("/v1/models")
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
            await world.nothing_left()

    asyncio.run(main())


def test_the_loaded_folder_is_listed_by_its_name():
    async def main():
        async with open_world({ListModels: LOCAL}, model=replace(INFO, source=FOLDER)) as world:
            listed = (await world.http.get("/v1/models")).json()["data"]
            assert listed[0]["id"] == "qwen"
            assert listed[0]["context_length"] == INFO.context_length
            assert (await world.say(model="qwen")).status_code == 200

    asyncio.run(main())
