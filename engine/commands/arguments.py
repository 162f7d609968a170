"""The flags that commands share, spelled as users of mlx-vlm know them, and the parser that reads them.

Knows nothing of what commands do.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from engine.api.errors import RequestError
from engine.api.settings import KVScheme
from engine.commands.forms import add_form_flags
from engine.commands.numbers import POSITIVE, at_least
from engine.commands.refused import REFUSED
from engine.commands.sampling import add_sampling_flags

STARTER = "starter"
DEFAULT_MAX_TOKENS = 2048
"""Against a model that never ends; what a context leaves can be hours."""


class Parser(argparse.ArgumentParser):
    """Raises `RequestError` where argparse would print and exit, so that `--json` gets its errors as JSON too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        raise RequestError(_sentence(message), f"See `{self.prog} --help`.", code="usage")


class _Refuse(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        raise RequestError(f"{option} {REFUSED[option]}.", f"See `{parser.prog} --help`.", code="unsupported_flag")


def add_output_flags(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--verbose", action="store_true", help="say more on the error stream: statistics, the log")


def add_model_flags(parser: Parser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument("--model", default=STARTER, help="`starter`, a folder, or a Hub id (default: %(default)s)")
    group.add_argument("--revision", help="branch, tag or commit of a Hub repository")
    group.add_argument("--offline", action="store_true", help="never download a model")
    group.add_argument("--max-kv-size", type=at_least(1), metavar="N", help="tokens kept in a rotating KV cache")
    group.add_argument("--kv-bits", type=POSITIVE, metavar="N", help="keep the KV cache in so many bits a number")
    group.add_argument(
        "--kv-quant-scheme",
        choices=[scheme.value for scheme in KVScheme],
        help="what --kv-bits means: uniform (2, 3, 4, 6, 8; the default) or turboquant (2, 3, 3.5, 4)",
    )
    group.add_argument(
        "--kv-group-size", type=at_least(1), metavar="N", help="numbers that share a scale: 32, 64 (default) or 128"
    )
    group.add_argument("--adapter-path", type=Path, metavar="FOLDER", help="a LoRA adapter to put onto the model")
    group.add_argument("--draft-model", metavar="MODEL", help="a smaller one with the same tokens, that guesses ahead")
    group.add_argument("--no-lookup", action="store_true", help="never guess that what was said before is repeated")
    group.add_argument("--prefill-step-size", type=at_least(1), metavar="N", help="prompt tokens read at a time")
    group.add_argument("--no-disk-cache", action="store_true", help="keep nothing of prompts and answers on the disk")
    group.add_argument(
        "--vision-cache-disk", action="store_true", help="keep pictures as the model saw them on the disk, too"
    )


def add_answer_flags(parser: Parser) -> None:
    group = parser.add_argument_group("answer")
    group.add_argument("--system", help="what the model is told before the conversation")
    group.add_argument("--image", action="extend", nargs="+", default=[], metavar="PICTURE", help="file or data: URI")
    group.add_argument("--video", action="extend", nargs="+", default=[], metavar="CLIP", help="file or data: URI")
    group.add_argument("--fps", type=POSITIVE, metavar="N", help="frames of a clip looked at for each second of it")
    group.add_argument("--max-frames", "--video-max-frames", type=at_least(1), metavar="N", help="at most, of a clip")
    group.add_argument(
        "--video-as-pictures", type=at_least(1), metavar="N", help="for models without video: N frames, as pictures"
    )
    group.add_argument(
        "--resize-shape",
        type=at_least(1),
        nargs="+",
        metavar="N",
        help="scale pictures and frames to fit into this height and width (one number: a square)",
    )
    group.add_argument("--enable-thinking", action="store_true", help="let a model that can think do so first")
    group.add_argument("--thinking-budget", type=at_least(0), metavar="N", help="end its thinking after N tokens")
    group.add_argument(
        "--max-tokens", type=at_least(1), default=DEFAULT_MAX_TOKENS, metavar="N", help="default: %(default)s"
    )
    group.add_argument("--stop", action="extend", nargs="+", default=[], metavar="TEXT", help="end before this text")
    add_sampling_flags(group)
    # Always so here: control tokens are never part of the answer.
    group.add_argument("--skip-special-tokens", action="store_true", help=argparse.SUPPRESS)
    for flag in REFUSED:
        group.add_argument(flag, action=_Refuse, nargs="*", help=argparse.SUPPRESS)
    add_form_flags(parser)


def wants_json(words: Sequence[str]) -> bool:
    """Known before parsing, because parsing itself may fail."""
    return "--json" in words


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")
