"""The application over a real engine with the tiny model, asked in process."""

import asyncio
from contextlib import contextmanager

import httpx2

from engine.api.request import LoadModel
from engine.api.settings import EngineSettings
from engine.host import EngineHost
from engine.serve.application import build_application
from engine.serve.board import Board
from tests.recording import ask
from tests.serve.world import ADDRESS, as_they_are, settings


@contextmanager
def tiny_engine(folder):
    with EngineHost(EngineSettings()) as host:
        ask(host.client, LoadModel(str(folder))).end()
        yield host.client


def with_http(engine, use):
    """Runs `use(http)` once the application knows the model."""

    async def main():
        board = Board()
        built = build_application(engine, settings(), board, settle=as_they_are)
        board.watch(engine)
        transport = httpx2.ASGITransport(built.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=ADDRESS) as http:
            while board.model is None:
                await asyncio.sleep(0)
            await use(http)
        board.close()

    asyncio.run(main())
