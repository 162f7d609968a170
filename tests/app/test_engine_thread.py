"""The engine's thread runs the loop it is given, and tells everybody who waits when there is none."""

import subprocess
import sys
import threading
from pathlib import Path

from app.engine_thread import EngineThread
from engine.api.events import Failed
from engine.api.request import ListModels
from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.inbox import Inbox
from tests.app.fake_loop import FakeLoop
from tests.recording import Recorder


def test_runs_the_loop_on_a_thread_of_its_own_until_the_client_closes(qapp):
    inbox = Inbox()
    client = EngineClient(inbox)
    threads = []

    def factory(inbox, settings):
        threads.append(threading.get_ident())
        return FakeLoop(inbox)

    thread = EngineThread(inbox, EngineSettings(), factory)
    thread.start()
    recorder = Recorder()
    client.submit(ListModels(), recorder)
    recorder.end()
    client.close()
    assert thread.wait(5000)
    assert threads != [threading.get_ident()]


def test_an_engine_that_cannot_start_fails_what_waits_and_what_comes(qapp, caplog):
    def factory(inbox, settings):
        raise ModuleNotFoundError("No module named 'mlx'")

    inbox = Inbox()
    client = EngineClient(inbox)
    waiting, late = Recorder(), Recorder()
    client.submit(ListModels(), waiting)
    thread = EngineThread(inbox, EngineSettings(), factory)
    thread.start()
    assert thread.wait(5000)
    client.submit(ListModels(), late)
    (failed,) = waiting.terminal
    assert isinstance(failed, Failed)
    assert "No module named 'mlx'" in failed.message
    assert failed.hint
    assert len(late.terminal) == 1
    assert "ended early" in caplog.text


def test_importing_the_app_imports_no_engine_and_nothing_heavy():
    """In a fresh interpreter: the window has to be up before any of these."""
    heavy = "mlx mlx_lm transformers numpy PIL cv2 torch huggingface_hub engine.loop pygments.lexers psutil"
    root = Path(__file__).resolve().parents[2]
    code = f"import sys, app.application; print([name for name in {heavy.split()!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
