"""The command line: finds the command, runs it, and turns how it ended into an exit status.

0 done, 1 our fault, 2 the user's, 130 Ctrl-C, 141 nobody reads the output any more. Knows nothing of what commands do.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from engine.api.errors import EngineError
from engine.commands import chat, convert, doctor, generate, models, serve
from engine.commands.arguments import Parser, wants_json
from engine.commands.context import Context, OpenEngine, open_host
from engine.commands.interrupt import INTERRUPTED
from engine.commands.shapes import error_object
from engine.commands.terminal import Terminal
from engine.environment import is_offline, keep_torch_out, settings_from_environment, with_disk_cache

USAGE_ERROR = 2
BROKEN_PIPE = 141

_COMMANDS = {
    "generate": (generate, "answer one question, about pictures or not"),
    "chat": (chat, "a conversation in the terminal"),
    "serve": (serve, "answer programs on this machine, as OpenAI's and Anthropic's servers do"),
    "models": (models, "list, download, describe and delete models"),
    "convert": (convert, "write a model anew: quantised, dequantised or in another float type"),
    "doctor": (doctor, "is everything as it should be, and what to do if not"),
}


def run() -> int:
    """What the `fovea` script calls."""
    keep_torch_out(sys.modules)
    return main()


def main(words: Sequence[str] | None = None, *, open_engine: OpenEngine = open_host) -> int:
    words = sys.argv[1:] if words is None else words
    terminal = Terminal()
    try:
        return _run(words, terminal, open_engine)
    except EngineError as error:
        _print_error(error, terminal, as_json=wants_json(words))
        return error.fault.value
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more on its way out, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def build_parser() -> Parser:
    parser = Parser(prog="fovea", description="Ask a model on your own machine about pictures and text.")
    parser.add_argument("--version", action="version", version=f"fovea {version('fovea')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, (module, description) in _COMMANDS.items():
        command = commands.add_parser(name, help=description, description=f"{description[0].upper()}{description[1:]}.")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _run(words: Sequence[str], terminal: Terminal, open_engine: OpenEngine) -> int:
    parser = build_parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help(terminal.err)
        return USAGE_ERROR
    settings = with_disk_cache(settings_from_environment(os.environ), os.environ, sys.platform)
    with _log(verbose=arguments.verbose):
        return arguments.run(arguments, Context(settings, terminal, open_engine, is_offline(os.environ)))


@contextmanager
def _log(*, verbose: bool) -> Iterator[None]:
    """Tracebacks and libraries' remarks are for those who ask for them."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    before = logging.root.manager.disable
    if not verbose:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _print_error(error: EngineError, terminal: Terminal, *, as_json: bool) -> None:
    if as_json:
        terminal.remark(json.dumps(error_object(error), ensure_ascii=False))
    else:
        terminal.remark(f"fovea: {error.message}" + (f"\n{error.hint}" if error.hint else ""))


if __name__ == "__main__":
    sys.exit(run())
