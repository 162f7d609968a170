"""`fovea-app --selftest`: builds the window, asks about a drawn picture, quits, and reports as JSON.

What a packaged app is checked with, so it also imports everything the app can use. Knows no model: it is told which.
"""

import importlib
import importlib.metadata
import json
import pkgutil
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QEventLoop, QSettings, Qt, QTimer
from PySide6.QtGui import QColor, QImage, QPainter

from app.application import Application, build_qt, leave_at_once
from app.options import Options
from app.preferences import Preferences
from app.state.exchange import Outcome
from engine.api.events import Modality
from engine.api.settings import EngineSettings

PATIENCE_MS = 240_000
LIBRARIES = (
    *("mlx.core", "mlx.nn", "mlx_lm", "transformers", "tokenizers", "huggingface_hub", "numpy", "PIL.Image"),
    *("pillow_heif", "cv2", "soundfile", "keyring", "psutil", "pygments", "PySide6.QtSvg", "PySide6.QtMultimedia"),
)
DISTRIBUTIONS = ("fovea", "mlx", "mlx-lm", "transformers", "PySide6-Essentials")


@dataclass
class Check:
    """What one part of the test found."""

    ok: bool = False
    seconds: float = 0.0
    details: dict[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return {"ok": self.ok, "seconds": round(self.seconds, 2), **self.details}


def run_selftest(model: str, settings: EngineSettings) -> int:
    """Prints the report; 0 if all is well, else 1."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        qt = build_qt()
        store = QSettings(str(Path(folder) / "selftest.ini"), QSettings.Format.IniFormat)
        application = Application(Options(model=model), settings, Preferences(store))
        checks = {"window": _timed(lambda check: _check_window(application, check))}
        checks["model"] = _timed(lambda check: _check_model(application, model, check))
        if checks["model"].ok:
            checks["answer"] = _timed(lambda check: _check_answer(application, check))
        checks["imports"] = _timed(_check_imports)
        checks["quit"] = _timed(lambda check: _check_quit(application, check))
        application.window.deleteLater()
        qt.processEvents()
    ok = all(check.ok for check in checks.values())
    report = {
        "ok": ok,
        "versions": _versions(),
        **{name: check.as_json() for name, check in checks.items()},
        "seconds": round(time.perf_counter() - began, 2),
    }
    print(json.dumps(report, indent=1), flush=True)
    if not checks["quit"].ok:
        leave_at_once(1)
    return 0 if ok else 1


def draw_picture() -> QImage:
    """A red disc on white."""
    image = QImage(260, 260, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor("#d62828"))
    painter.drawEllipse(60, 60, 140, 140)
    painter.end()
    return image


def _timed(run: Callable[[Check], None]) -> Check:
    check = Check()
    began = time.perf_counter()
    run(check)
    check.seconds = time.perf_counter() - began
    return check


def _wait_until(condition: Callable[[], bool]) -> bool:
    """Lets Qt work until it holds; gives up in the end."""
    loop = QEventLoop()
    poll, limit = QTimer(), QTimer()
    poll.timeout.connect(lambda: condition() and loop.quit())
    limit.setSingleShot(True)
    limit.timeout.connect(loop.quit)
    poll.start(20)
    limit.start(PATIENCE_MS)
    loop.exec()
    return condition()


def _check_window(application: Application, check: Check) -> None:
    painted: list[bool] = []
    application.window.painted.connect(lambda: painted.append(True))
    application.start()
    check.ok = _wait_until(lambda: bool(painted))


def _check_model(application: Application, model: str, check: Check) -> None:
    models = application.models
    errors: list[str] = []
    models.failed.connect(lambda failed: errors.append(failed.message))
    check.ok = _wait_until(lambda: bool(errors) or models.loaded is not None) and not errors
    check.details = {"source": model}
    if errors:
        check.details["error"] = errors[0]
    if models.loaded is not None:
        check.details |= {"name": models.loaded.name, "device": models.loaded.device}


def _check_answer(application: Application, check: Check) -> None:
    chat, loaded = application.chat, application.models.loaded
    sees = loaded is not None and Modality.IMAGE in loaded.modalities
    if sees:
        application.page.attach_image(draw_picture())
    application.page.composer.set_text("What is this?")
    application.page.composer.send_button.click()
    ended = _wait_until(lambda: not chat.running)
    exchange = chat.exchanges[-1]
    check.ok = ended and exchange.outcome is Outcome.COMPLETE and bool(exchange.answer)
    check.details = {"picture": sees, "text": exchange.answer, "outcome": exchange.outcome.value}
    if application.page.banner.message:
        check.details["error"] = application.page.banner.message


def _check_imports(check: Check) -> None:
    names = [*LIBRARIES]
    for package in ("app", "engine"):
        path = importlib.import_module(package).__path__
        names += [found.name for found in pkgutil.walk_packages(path, f"{package}.")]
    failed: dict[str, str] = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs in the report
            failed[name] = f"{type(error).__name__}: {error}"
    check.ok = not failed
    check.details = {"tried": len(names), "failed": failed}


def _check_quit(application: Application, check: Check) -> None:
    application.window.close()
    check.ok = application.shut_down()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "platform": platform.platform(), "frozen": str(_is_frozen())}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _is_frozen() -> bool:
    return getattr(sys, "frozen", None) is not None
