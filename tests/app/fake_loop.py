"""The scripted engine in the place of the real loop, on the app's own thread for it."""

import dataclasses

from engine.api.events import Finished, FinishReason, Progress, Stage, Status
from engine.api.request import LoadModel, WatchStatus
from tests.fake_engine import INFO, WAIT, FakeEngine


def load_and_tell(request_id, request):
    """As the real engine: progress, then how the engine is, then the end."""
    info = dataclasses.replace(INFO, source=request.source)
    yield Progress(request_id, Stage.LOADING, 1, 4)
    yield Status(request_id, info, 540_000_000, 0, 0)
    yield Finished(request_id, FinishReason.DONE, model=info)


def watch(request_id, request):
    """Nothing changes but by loads, which tell by themselves."""
    while True:
        yield WAIT


class FakeLoop(FakeEngine):
    def __init__(self, inbox, scripts=None):
        super().__init__({LoadModel: load_and_tell, WatchStatus: watch} | (scripts or {}))
        self._inbox = inbox

    def run(self):
        self._run()
