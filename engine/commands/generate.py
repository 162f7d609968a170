"""`fovea generate`: one question, one answer.

Knows nothing of how the answer comes about.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace

from engine.api.errors import RequestError
from engine.api.events import Event, Failed, Finished, FinishReason, Progress, TextDelta
from engine.api.request import GenerateRequest, MediaPart, Message, Role, Text, Video
from engine.attachment import image_part, video_part
from engine.client import EngineClient
from engine.commands.arguments import Parser, add_answer_flags, add_model_flags, add_output_flags
from engine.commands.context import Context
from engine.commands.forms import response_format
from engine.commands.interrupt import INTERRUPTED, cancelled_by_interrupt
from engine.commands.loading import engine_settings, load_model
from engine.commands.numbers import at_least
from engine.commands.sampling import sampling_settings
from engine.commands.shapes import answer_object, event_object
from engine.commands.terminal import Terminal
from engine.exchange import Exchange
from engine.reply import Reply
from engine.sizes import format_size


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--prompt", nargs="+", metavar="TEXT", help="the question; `-` or nothing reads standard input")
    parser.add_argument(
        "--top-logprobs",
        type=at_least(1),
        default=0,
        metavar="N",
        help="with --json: the likeliest tokens beside each",
    )
    parser.add_argument("--stream", action="store_true", help="with --json: one object a line as things happen")
    add_output_flags(parser)
    add_model_flags(parser)
    add_answer_flags(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    # Before the engine starts: what is wrong with the question is told at once.
    message = user_message(read_prompt(arguments.prompt, context.terminal), media_parts(arguments))
    if arguments.top_logprobs and not arguments.json:
        raise RequestError("--top-logprobs has a place in --json alone.", "Add --json.")
    request = generate_request((*system_messages(arguments), message), arguments)
    request = replace(request, top_logprobs=arguments.top_logprobs)
    with context.open_engine(engine_settings(context, arguments)) as engine:
        if load_model(context, engine.client, arguments) is None:
            return INTERRUPTED
        reply = answer(engine.client, request, arguments, context.terminal)
    return INTERRUPTED if reply.end.reason is FinishReason.CANCELLED else 0


def generate_request(messages: tuple[Message, ...], arguments: argparse.Namespace) -> GenerateRequest:
    return GenerateRequest(
        messages,
        max_tokens=arguments.max_tokens,
        stop=tuple(arguments.stop),
        sampling=sampling_settings(arguments),
        logprobs=arguments.json,
        response_format=response_format(arguments),
        template_options=(("enable_thinking", arguments.enable_thinking),),
        resize_shape=_resize_shape(arguments.resize_shape),
        thinking_budget=arguments.thinking_budget,
    )


def _resize_shape(numbers: list[int] | None) -> tuple[int, int] | None:
    if numbers is None:
        return None
    if len(numbers) > 2:
        raise RequestError("--resize-shape takes a height and a width.", "One number stands for both.")
    return numbers[0], numbers[-1]


def system_messages(arguments: argparse.Namespace) -> tuple[Message, ...]:
    return (Message(Role.SYSTEM, (Text(arguments.system),)),) if arguments.system else ()


def media_parts(arguments: argparse.Namespace) -> tuple[MediaPart, ...]:
    """Pictures, then clips, in the order of the command line. Raises `EngineError` for what cannot be one."""
    clips = (clip_part(source, arguments) for source in arguments.video)
    return (*map(image_part, arguments.image), *clips)


def clip_part(source: str, arguments: argparse.Namespace) -> Video:
    return video_part(
        source, fps=arguments.fps, max_frames=arguments.max_frames, as_pictures=arguments.video_as_pictures
    )


def user_message(prompt: str, media: Sequence[MediaPart]) -> Message:
    """Media first, as models are trained to see them. Raises `RequestError` when there is nothing to ask."""
    if not prompt.strip() and not media:
        raise RequestError("There is nothing to ask.", "Give --prompt a text, or pipe one in.")
    text = (Text(prompt),) if prompt.strip() else ()
    return Message(Role.USER, (*media, *text))


def read_prompt(words: list[str] | None, terminal: Terminal) -> str:
    if words and words != ["-"]:
        return " ".join(words)
    if words is None and terminal.is_typed:
        return ""
    return terminal.input.read()


def answer(client: EngineClient, request: GenerateRequest, arguments: argparse.Namespace, terminal: Terminal) -> Reply:
    """Ask, and print what comes in the form that was asked for. Raises the `EngineError` the request failed with."""
    reply = Reply()
    with Exchange(client, request) as exchange, cancelled_by_interrupt(exchange):
        for event in exchange:
            reply.add(event)
            if isinstance(event, Failed):
                raise event.to_error()
            _print_event(event, arguments, terminal)
    terminal.clear_progress()
    if arguments.json:
        terminal.write_json(answer_object(reply))
    elif not reply.text.endswith("\n"):
        terminal.write("\n")
    for note in reply.end.notes:
        terminal.remark(note)
    if arguments.verbose:
        terminal.remark(statistics(reply.end))
    return reply


def _print_event(event: Event, arguments: argparse.Namespace, terminal: Terminal) -> None:
    if isinstance(event, Progress):
        terminal.show_progress(event)
    if not arguments.json:
        if isinstance(event, TextDelta):
            terminal.write(event.text)
    elif arguments.stream and (shape := event_object(event)):
        terminal.write_json(shape)


def statistics(end: Finished) -> str:
    usage, timings = end.usage, end.timings
    pictures = f" ({usage.image_tokens} for pictures)" if usage.image_tokens else ""
    guessed = f" ({usage.accepted_tokens} of {usage.drafted_tokens} guessed right)" if usage.drafted_tokens else ""
    return (
        f"prompt {usage.prompt_tokens} tokens{pictures}, {timings.prompt_tps:.1f} tok/s; "
        f"answer {usage.completion_tokens} tokens{guessed}, {timings.generation_tps:.1f} tok/s; "
        f"first token {timings.ttft_s:.2f} s; loading {timings.load_s:.1f} s; "
        f"peak memory {format_size(timings.peak_memory_bytes)}"
    )
