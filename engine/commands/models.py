"""`fovea models`: what is on this machine, and how to get more or have less.

Knows nothing of where models lie or how they are fetched.
"""

import argparse

from engine.api.errors import HubError
from engine.api.events import Finished, LocalModel, ModelInfo, Progress
from engine.api.model_facts import Capabilities, PictureCut
from engine.api.request import DescribeModel, ListModels, PullModel, RemoveModel, Request
from engine.attachment import image_part
from engine.commands.arguments import Parser, add_output_flags
from engine.commands.context import Context
from engine.commands.interrupt import INTERRUPTED, cancelled_by_interrupt
from engine.commands.loading import DownloadAnnouncement
from engine.commands.shapes import info_object, local_model_object
from engine.commands.terminal import Terminal
from engine.exchange import Exchange
from engine.sizes import format_size


def add_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_output_flags(actions.add_parser("list", help="the models on this machine"))
    pull = actions.add_parser("pull", help="download a model from the Hub; interrupted, it goes on where it stopped")
    pull.add_argument("repo_id", metavar="REPOSITORY", help="such as owner/name")
    pull.add_argument("--revision", help="branch, tag or commit")
    info = actions.add_parser("info", help="what a model on this machine is")
    info.add_argument("source", metavar="MODEL", help="`starter`, a folder, or a Hub id")
    info.add_argument("--image", metavar="PICTURE", help="say how this picture would be cut up")
    remove = actions.add_parser("remove", help="delete a downloaded model")
    remove.add_argument("repo_id", metavar="REPOSITORY", help="such as owner/name")
    for action in (pull, info, remove):
        add_output_flags(action)


def run(arguments: argparse.Namespace, context: Context) -> int:
    request = _request(arguments)
    if isinstance(request, PullModel) and context.offline:
        raise HubError("HF_HUB_OFFLINE forbids downloads.", "Unset it, and pull again.")
    finished = _ask(request, context)
    if finished is None:
        return INTERRUPTED
    _print(arguments, finished, context.terminal)
    return 0


def _request(arguments: argparse.Namespace) -> Request:
    match arguments.action:
        case "list":
            return ListModels()
        case "pull":
            return PullModel(arguments.repo_id, arguments.revision)
        case "info":
            return DescribeModel(arguments.source, image_part(arguments.image) if arguments.image else None)
        case _:
            return RemoveModel(arguments.repo_id)


def _ask(request: Request, context: Context) -> Finished | None:
    """`None`: Ctrl-C came first."""
    announcement = DownloadAnnouncement(context.terminal)
    with (
        context.open_engine(context.settings) as engine,
        Exchange(engine.client, request) as exchange,
        cancelled_by_interrupt(exchange) as interruption,
    ):
        for event in exchange:
            if isinstance(event, Progress):
                announcement.add(event)
                context.terminal.show_progress(event)
        finished = exchange.finish()
    context.terminal.clear_progress()
    return None if interruption.happened else finished


def _print(arguments: argparse.Namespace, finished: Finished, terminal: Terminal) -> None:
    match arguments.action:
        case "list":
            if arguments.json:
                terminal.write_json({"models": [local_model_object(model) for model in finished.models]})
            else:
                terminal.write(list_text(finished.models))
        case "pull":
            if arguments.json:
                terminal.write_json({"repo_id": arguments.repo_id, "path": finished.path})
            else:
                terminal.write(f"{finished.path}\n")
        case "info":
            if arguments.json:
                terminal.write_json(info_object(finished.model))
            else:
                terminal.write(info_text(finished.model))
        case "remove":
            if arguments.json:
                terminal.write_json({"removed": arguments.repo_id})
            else:
                terminal.write(f"Removed {arguments.repo_id}.\n")


def list_text(models: tuple[LocalModel, ...]) -> str:
    """A table: name, type, size, and why a model cannot be loaded."""
    if not models:
        return "No models on this machine. `fovea models pull OWNER/NAME` downloads one.\n"
    rows = [(model.source, model.model_type or "?", format_size(model.bytes), model.problem) for model in models]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{source:<{widths[0]}}  {kind:<{widths[1]}}  {size:>{widths[2]}}  {problem}".rstrip()
        for source, kind, size, problem in rows
    ]
    return "\n".join(lines) + "\n"


def info_text(info: ModelInfo) -> str:
    """One line a fact, and one for each length of the context; what is unknown has none."""
    facts = {
        "Name": info.name,
        "Type": info.model_type,
        "Takes": ", ".join(sorted(modality.value for modality in info.modalities)) + _limit(info.capabilities),
        "Knows": ", ".join(name for name in ("tools", "thinking") if getattr(info.capabilities, name)),
        "Weights": f"{info.parameters:,}, {format_size(info.weight_bytes)}",
        "Quantised": info.quantization,
        "Context": f"{info.context_length:,} tokens" if info.context_length else "",
        "Memory": "\n".join(f"{format_size(need.bytes)} with {need.tokens:,} tokens" for need in info.memory),
        "Device": info.device,
        "About": info.description,
        "Note": info.note,
        "Picture": picture_text(info.picture) if info.picture else "",
    }
    lines = []
    for name, fact in facts.items():
        for number, line in enumerate(fact.splitlines()):
            lines.append(f"{f'{name}:' if number == 0 else '':<11}{line}\n")
    return "".join(lines)


def picture_text(cut: PictureCut) -> str:
    """Such as "1600 x 1200, seen as 13 tiles of 512 x 512: 832 tokens"."""
    width, height = cut.seen_size
    seen = f"{width} x {height}" if width and height else ""
    if cut.tiles > 1:
        seen = f"{cut.tiles} tiles" + (f" of {seen}" if seen else "")
    return f"{cut.size[0]} x {cut.size[1]}" + (f", seen as {seen}" if seen else "") + f": {cut.tokens:,} tokens"


def _limit(can: Capabilities) -> str:
    most = can.most_pictures
    return "" if most is None else f" (at most {most} picture{'s' if most > 1 else ''} in a conversation)"
