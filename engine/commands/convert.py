"""`fovea convert`: a model written anew, packed, unpacked or in another float type.

Knows nothing of how weights are packed.
"""

import argparse
from pathlib import Path

from engine.api.conversion import ConvertModel, FloatType
from engine.api.errors import RequestError
from engine.api.events import Finished, Progress
from engine.api.quantization import PackingMode, Quantization, Recipe
from engine.commands.arguments import Parser, add_output_flags
from engine.commands.context import Context
from engine.commands.interrupt import INTERRUPTED, cancelled_by_interrupt
from engine.commands.loading import DownloadAnnouncement
from engine.commands.numbers import at_least
from engine.commands.shapes import info_object
from engine.exchange import Exchange
from engine.sizes import format_size

_ONLY_PACKED = ("bits", "group_size", "mode", "recipe")


def add_arguments(parser: Parser) -> None:
    add_output_flags(parser)
    # The second spellings are mlx-vlm's.
    parser.add_argument("--model", "--hf-path", required=True, metavar="MODEL", help="a folder, or a Hub id")
    parser.add_argument("--out", "--mlx-path", required=True, type=Path, metavar="FOLDER", help="where it is written")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    parser.add_argument("--offline", action="store_true", help="never download a model")
    parser.add_argument("--dtype", choices=[each.value for each in FloatType], help="default: what its config says")
    parser.add_argument("-d", "--dequantize", action="store_true", help="unpack a model that is packed")
    parser.add_argument("-q", "--quantize", action="store_true", help="pack the text decoder; towers stay as they are")
    group = parser.add_argument_group("with --quantize")
    group.add_argument("--bits", "--q-bits", type=at_least(1), metavar="N", help="of a weight (default: 4)")
    group.add_argument(
        "--group-size", "--q-group-size", type=at_least(1), metavar="N", help="weights that share a scale (default: 64)"
    )
    group.add_argument("--mode", "--q-mode", choices=[each.value for each in PackingMode], help="default: affine")
    group.add_argument(
        "--recipe",
        "--quant-predicate",
        choices=[each.value for each in Recipe],
        help="few bits for most layers, more for some",
    )


def run(arguments: argparse.Namespace, context: Context) -> int:
    request = convert_request(arguments, offline=context.offline or arguments.offline)
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
    if interruption.happened:
        return INTERRUPTED
    if arguments.json:
        shape = {"path": finished.path, "model": info_object(finished.model), "notes": list(finished.notes)}
        context.terminal.write_json(shape)
    else:
        context.terminal.write(converted_text(finished))
    return 0


def convert_request(arguments: argparse.Namespace, *, offline: bool) -> ConvertModel:
    """Raises `RequestError` for flags that contradict each other."""
    return ConvertModel(
        source=arguments.model,
        target=arguments.out.expanduser().absolute(),
        quantization=_quantization(arguments),
        dequantize=arguments.dequantize,
        float_type=FloatType(arguments.dtype) if arguments.dtype else None,
        revision=arguments.revision,
        download=not offline,
    )


def _quantization(arguments: argparse.Namespace) -> Quantization | None:
    if arguments.quantize:
        return Quantization.of(
            PackingMode(arguments.mode or PackingMode.AFFINE.value),
            arguments.bits,
            arguments.group_size,
            Recipe(arguments.recipe) if arguments.recipe else None,
        )
    given = next((name for name in _ONLY_PACKED if getattr(arguments, name) is not None), None)
    if given is not None:
        raise RequestError(f"--{given.replace('_', '-')} says how to pack, but --quantize is missing.", "Add it.")
    return None


def converted_text(finished: Finished) -> str:
    """Where it lies, how large it is, and what could not be done as asked."""
    info = finished.model
    kind = f"{info.quantization}, " if info.quantization else ""
    size = f"{kind}{8 * info.weight_bytes / info.parameters:.2f} bits a weight, {format_size(info.weight_bytes)}"
    return "".join(f"{line}\n" for line in (finished.path, size, *finished.notes))
