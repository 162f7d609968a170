"""Getting the model ready before a command can ask it something.

Knows nothing of what will be asked.
"""

import argparse
from dataclasses import replace

from engine.api.errors import RequestError
from engine.api.events import Failed, ModelInfo, Progress, Stage
from engine.api.request import LoadModel
from engine.api.settings import EngineSettings, KVScheme
from engine.client import EngineClient
from engine.commands.context import Context
from engine.commands.interrupt import cancelled_by_interrupt
from engine.commands.shapes import event_object
from engine.commands.terminal import Terminal
from engine.exchange import Exchange
from engine.sizes import format_size


def engine_settings(context: Context, arguments: argparse.Namespace) -> EngineSettings:
    """The environment's settings, and what the flags say about caches and guesses.

    Raises `RequestError` for flags that do not go together.
    """
    scheme = arguments.kv_quant_scheme
    flags = {
        "max_kv_size": arguments.max_kv_size,
        "prefill_step_size": arguments.prefill_step_size,
        "kv_bits": arguments.kv_bits,
        "kv_quant_scheme": None if scheme is None else KVScheme(scheme),
        "kv_group_size": arguments.kv_group_size,
    }
    given = {name: value for name, value in flags.items() if value is not None}
    if arguments.vision_cache_disk and arguments.no_disk_cache:
        raise RequestError("--vision-cache-disk says nothing with --no-disk-cache.", "Leave one of them out.")
    if arguments.vision_cache_disk:
        given["feature_disk"] = True
    if arguments.no_disk_cache:
        given["disk_dir"] = None
    settings = replace(context.settings, cache=replace(context.settings.cache, **given))
    if not arguments.no_lookup:
        return settings
    return replace(settings, speculation=replace(settings.speculation, lookup=False))


def load_request(context: Context, arguments: argparse.Namespace) -> LoadModel:
    """What the flags say of the model."""
    offline = context.offline or arguments.offline
    adapter = arguments.adapter_path
    return LoadModel(
        arguments.model,
        arguments.revision,
        download=not offline,
        draft_model=arguments.draft_model,
        adapter=adapter and adapter.expanduser(),
    )


def load_model(context: Context, client: EngineClient, arguments: argparse.Namespace) -> ModelInfo | None:
    """Load what `--model` and `--draft-model` name, downloading it if need be. `None`: Ctrl-C came first.

    Raises the `EngineError` the loading failed with.
    """
    request = load_request(context, arguments)
    streams_json = arguments.json and arguments.stream
    announcement = DownloadAnnouncement(context.terminal)
    with Exchange(client, request) as exchange, cancelled_by_interrupt(exchange) as interruption:
        for event in exchange:
            if streams_json and isinstance(event, Progress):
                context.terminal.write_json(event_object(event))
            if isinstance(event, Progress):
                announcement.add(event)
                context.terminal.show_progress(event)
            if isinstance(event, Failed):
                raise event.to_error()
        finished = exchange.finish()
    context.terminal.clear_progress()
    if interruption.happened:
        return None
    if arguments.verbose and finished.model.note:
        context.terminal.remark(finished.model.note)
    return finished.model


class DownloadAnnouncement:
    """Says once that something is being downloaded, and how big it is, also where nobody watches progress."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._made = False

    def add(self, progress: Progress) -> None:
        if progress.stage is not Stage.DOWNLOADING or self._made:
            return
        size = f" ({format_size(progress.total)})" if progress.total else ""
        self._terminal.remark(f"{progress.note or 'The model'} is not on this machine yet: downloading{size}.")
        self._made = True
