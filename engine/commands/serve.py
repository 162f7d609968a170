"""`fovea serve`: the local API, until Ctrl-C.

Owns what the flags mean for the server. Knows nothing of HTTP.
"""

import argparse
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from engine.api.errors import InternalError, RequestError
from engine.api.request import MOST_LOGPROBS
from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.commands.arguments import Parser, add_model_flags, add_output_flags
from engine.commands.context import Context
from engine.commands.interrupt import INTERRUPTED
from engine.commands.loading import engine_settings, load_model, load_request
from engine.commands.numbers import at_least
from engine.commands.terminal import Terminal
from engine.serve.port import PortTaken
from engine.serve.server import Server
from engine.serve.settings import DEFAULT_PORT, LOOPBACK, Limits, MediaRules, ServeSettings, is_loopback
from engine.sizes import parse_size

if TYPE_CHECKING:
    from engine.serve.request_log import LogEntry

log = logging.getLogger("fovea.serve")

_LEVELS = ("debug", "info", "warning", "error", "critical")
_LEAST_CACHE = 1_000_000
_SHARE = 0.75
"""Of all places, that one of several keys may have."""


@dataclass(frozen=True, slots=True)
class _Keys:
    keys: tuple[str, ...] = field(repr=False)
    to_show: str = field(repr=False, default="")
    note: str = ""


def add_arguments(parser: Parser) -> None:
    add_output_flags(parser)
    add_model_flags(parser)
    parser.set_defaults(stream=False)
    place = parser.add_argument_group("who may ask")
    place.add_argument("--host", default=LOOPBACK, help="the address to listen at (default: %(default)s, this machine)")
    place.add_argument("--port", type=at_least(0), help=f"default: {DEFAULT_PORT}, or the next one that is free")
    place.add_argument(
        "--api-key", action="append", metavar="KEY", help="in place of the one in the keychain; several are let in"
    )
    place.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin ask, in browsers",
    )
    place.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name that this machine is called by"
    )
    what = parser.add_argument_group("what may be asked")
    what.add_argument("--models", action="extend", nargs="+", metavar="MODEL", help="no others than these")
    what.add_argument("--no-switching", action="store_true", help="no others than the one that is loaded")
    what.add_argument("--allow-media-urls", action="store_true", help="fetch pictures from public addresses")
    what.add_argument(
        "--allow-media-folder",
        action="append",
        type=Path,
        default=[],
        metavar="FOLDER",
        help="open files below this folder that a request names",
    )
    what.add_argument("--enable-thinking", action="store_true", help="where a request does not say")
    what.add_argument(
        "--top-logprobs-k", type=at_least(0), default=MOST_LOGPROBS, metavar="N", help="at most (default: %(default)s)"
    )
    load = parser.add_argument_group("how much at once")
    load.add_argument("--max-running", type=at_least(1), metavar="N", help="answers drawn at the same time")
    load.add_argument("--max-queue", type=at_least(0), metavar="N", help="further answers that may wait")
    load.add_argument(
        "--vision-cache-size", type=_cache_size, metavar="SIZE", help="of pictures as seen, such as 512MB"
    )
    load.add_argument("--log-level", choices=_LEVELS, help="say more on the error stream; info is a line a request")


def run(arguments: argparse.Namespace, context: Context) -> int:
    keys = _keys(arguments)
    settings = serve_settings(arguments, context, keys.keys)
    ended, lost = threading.Event(), threading.Event()

    def on_lost() -> None:
        lost.set()
        ended.set()

    with _logged(arguments), context.open_engine(_engine_settings(arguments, context)) as engine:
        server = _started(engine.client, settings, arguments, context.terminal, on_lost)
        try:
            _announce(server, keys, arguments, context.terminal)
            info = load_model(context, engine.client, arguments)
            if info is None:
                return INTERRUPTED
            context.terminal.remark(f"{info.name} is loaded. Ctrl-C ends the server.")
            wait_interrupted(ended)
            if lost.is_set():
                raise InternalError("The local API ended by itself.", "Start it again; the log has the details.")
            context.terminal.remark("Ending: answers under way may end first.")
        finally:
            server.stop()
    return 0


def serve_settings(arguments: argparse.Namespace, context: Context, keys: tuple[str, ...]) -> ServeSettings:
    """Raises `RequestError` for flags that do not go together, or would let just anybody in."""
    for folder in arguments.allow_media_folder:
        if not folder.expanduser().is_dir():
            raise RequestError(f"--allow-media-folder: there is no folder {folder}.", "Check its name.")
    return ServeSettings(
        host=arguments.host,
        port=DEFAULT_PORT if arguments.port is None else arguments.port,
        keys=keys,
        allowed_hosts=tuple(arguments.allow_host),
        allowed_origins=tuple(arguments.allow_origin),
        models=None if arguments.models is None else tuple(arguments.models),
        loads=(load_request(context, arguments),),
        switching=not arguments.no_switching,
        template_options=(("enable_thinking", True),) if arguments.enable_thinking else (),
        top_logprobs=arguments.top_logprobs_k,
        media=MediaRules(
            allow_urls=arguments.allow_media_urls,
            folders=tuple(folder.expanduser() for folder in arguments.allow_media_folder),
        ),
        limits=_limits(arguments, len(keys)),
    )


def _limits(arguments: argparse.Namespace, keys: int) -> Limits:
    usual = Limits()
    running = usual.max_running if arguments.max_running is None else arguments.max_running
    queue = usual.max_queue if arguments.max_queue is None else arguments.max_queue
    share = 1 if keys == 1 else _SHARE
    return replace(usual, max_running=running, max_queue=queue, max_per_key=max(1, int(share * (running + queue))))


def _engine_settings(arguments: argparse.Namespace, context: Context) -> EngineSettings:
    settings = engine_settings(context, arguments)
    if arguments.max_running is not None:
        settings = replace(settings, max_running=arguments.max_running)
    if arguments.max_queue is not None:
        settings = replace(settings, max_waiting=max(settings.max_waiting, arguments.max_queue))
    if arguments.vision_cache_size is not None:
        settings = replace(settings, cache=replace(settings.cache, feature_bytes=arguments.vision_cache_size))
    return settings


def _cache_size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it like 512MB") from error
    if 0 < size < _LEAST_CACHE:
        raise argparse.ArgumentTypeError(f"{text} is {size} bytes; write it like 512MB, or 0 for none")
    return size


def _keys(arguments: argparse.Namespace) -> _Keys:
    if arguments.api_key:
        return _Keys(tuple(arguments.api_key))
    # Imported here, so that other commands do not wait for it.
    from engine.serve.keys import stored_key

    stored = stored_key()
    note = "" if stored.is_kept else "There is no keychain to keep the key in: it is for this run alone."
    return _Keys((stored.key,), stored.key, note)


def _started(
    client: EngineClient,
    settings: ServeSettings,
    arguments: argparse.Namespace,
    terminal: Terminal,
    on_lost: Callable[[], None],
) -> Server:
    """At another port where the usual one is taken; at one that was asked for, or not at all."""
    server = Server(client, settings, (_log_request,), on_lost=on_lost)
    try:
        server.start()
    except PortTaken as error:
        if arguments.port is not None or error.free_port is None:
            raise
        terminal.remark(error.message)
        server = Server(client, replace(settings, port=error.free_port), (_log_request,), on_lost=on_lost)
        server.start()
    return server


def _announce(server: Server, keys: _Keys, arguments: argparse.Namespace, terminal: Terminal) -> None:
    """The key is shown to whoever started the server, and nowhere else."""
    if arguments.json:
        shown = {"key": keys.to_show} if keys.to_show else {}
        terminal.write_json({"address": server.address, **shown})
    else:
        terminal.write(f"Address: {server.address}/v1\n" + (f"Key:     {keys.to_show}\n" if keys.to_show else ""))
    if keys.note:
        terminal.remark(keys.note)
    if not is_loopback(server.settings.host):
        terminal.remark("Others in this network can reach it; what is said is not encrypted on its way.")


def wait_interrupted(ended: threading.Event) -> None:
    """Until `ended`, which Ctrl-C sets, and the system's wish that the process end. Has to be called on the main
    thread."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {each: signal.signal(each, on_signal) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _logged(arguments: argparse.Namespace) -> Iterator[None]:
    """Whoever asks for a level has the log turned on."""
    if arguments.log_level is None:
        yield
        return
    root, disabled = logging.getLogger(), logging.root.manager.disable
    level = root.level
    logging.disable(logging.NOTSET)
    root.setLevel(arguments.log_level.upper())
    try:
        yield
    finally:
        root.setLevel(level)
        logging.disable(disabled)


def _log_request(entry: "LogEntry") -> None:
    usage = entry.usage
    tokens = f", {usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage.prompt_tokens else ""
    problem = f", {entry.error}" if entry.error else ", cancelled" if entry.cancelled else ""
    log.info(
        "%s %s %s %d, %d ms%s%s",
        entry.client,
        entry.method,
        entry.route,
        entry.status,
        entry.duration_ms,
        tokens,
        problem,
    )
