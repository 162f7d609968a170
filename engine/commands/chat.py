"""`fovea chat`: a conversation in the terminal.

Owns the turns so far. Knows nothing of how answers come about.
"""

import argparse
from dataclasses import dataclass

from engine.api.errors import EngineError
from engine.api.events import FinishReason
from engine.api.request import MediaPart, Message, Role, Text
from engine.attachment import image_part
from engine.client import EngineClient
from engine.commands.arguments import Parser, add_answer_flags, add_model_flags, add_output_flags
from engine.commands.context import Context
from engine.commands.generate import (
    answer,
    clip_part,
    generate_request,
    media_parts,
    system_messages,
    user_message,
)
from engine.commands.interrupt import INTERRUPTED
from engine.commands.loading import engine_settings, load_model
from engine.commands.terminal import Terminal

HELP = (
    "/image FILE or /video FILE adds it to the next question, /clear begins anew, /quit leaves. Ctrl-C stops an answer."
)


def add_arguments(parser: Parser) -> None:
    add_output_flags(parser)
    add_model_flags(parser)
    add_answer_flags(parser)
    # One object a line is the only JSON that makes sense here; for a single one there is `generate`.
    parser.set_defaults(stream=True)


def run(arguments: argparse.Namespace, context: Context) -> int:
    media = media_parts(arguments)
    with context.open_engine(engine_settings(context, arguments)) as engine:
        info = load_model(context, engine.client, arguments)
        if info is None:
            return INTERRUPTED
        chat = Chat(engine.client, arguments, context.terminal, system_messages(arguments), list(media))
        if context.terminal.is_typed:
            context.terminal.remark(f"{info.name}. {HELP}")
        chat.run()
    return 0


@dataclass(slots=True)
class Chat:
    client: EngineClient
    arguments: argparse.Namespace
    terminal: Terminal
    turns: tuple[Message, ...]
    media: list[MediaPart]
    """Waiting for the next question."""

    def run(self) -> None:
        """Until /quit or the end of input."""
        while (line := self._read()) is not None and line != "/quit":
            try:
                self._take(line)
            except EngineError as error:
                self.terminal.remark(str(error))

    def _take(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        match command:
            case "":
                pass
            case "/image":
                self.media.append(image_part(rest.strip()))
            case "/video":
                self.media.append(clip_part(rest.strip(), self.arguments))
            case "/clear":
                self.turns, self.media = system_messages(self.arguments), []
            case "/help":
                self.terminal.remark(HELP)
            case _:
                self._ask(line)

    def _ask(self, question: str) -> None:
        """A turn counts once it is answered; a stopped answer counts as far as it came, a failed one not at all."""
        asked = (*self.turns, user_message(question, self.media))
        reply = answer(self.client, generate_request(asked, self.arguments), self.arguments, self.terminal)
        if reply.text or reply.end.reason is not FinishReason.CANCELLED:
            self.turns = (*asked, Message(Role.ASSISTANT, (Text(reply.text),)))
            self.media = []

    def _read(self) -> str | None:
        """One line without its end; `None` at the end of input."""
        if self.terminal.is_typed:
            return self._read_typed()
        line = self.terminal.input.readline()
        return line.strip() if line else None

    def _read_typed(self) -> str | None:
        import readline  # noqa: F401 - importing it gives `input` history and editing

        try:
            return input("> ").strip()
        except EOFError:
            self.terminal.remark("")
            return None
