"""`generate`, `stream_generate` and `batch_generate`, as mlx-vlm's users call them.

Knows nothing of loading or templates: a prompt is given as the model is to see it, markers included.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.api.errors import RequestError
from engine.api.events import Failed, Finished, TextDelta, ThinkingDelta, TokenLogprob, ToolCallDelta, Usage
from engine.api.request import GenerateRequest
from engine.api.tools import ToolCall
from engine.exchange import Exchange
from engine.python.loading import Model, Processor
from engine.python.refusal import OF_BATCHES, refuse
from engine.python.request import Picture, answer_request, images_of
from engine.python.result import BatchResponse, GenerationResult
from engine.python.templating import apply_chat_template
from engine.reply import Reply


def generate(
    model: Model,
    processor: Processor,
    prompt: str,
    image: Picture | Sequence[Picture] | None = None,
    audio: object = None,
    video: object = None,
    verbose: bool = False,
    **options: Any,
) -> GenerationResult:
    """The whole answer. `options`: max_tokens, stop, the fields of `SamplingSettings`, response_format (see
    `engine.api.response_format`), top_logprobs (how many of the likeliest tokens come with each), resize_shape (height
    and width that pictures and frames are first scaled to fit into), thinking_budget in tokens, tools (the same that
    `apply_chat_template` got: their calls are then told from the text), tool_choice (auto, none, required, or the name
    of the tool that has to be called), and of clips fps and max_frames."""
    request = answer_request("generate", processor, prompt, image, video, options | {"audio": audio})
    reply = Reply()
    with Exchange(model.client, request) as exchange:
        for event in exchange:
            if isinstance(event, Failed):
                raise event.to_error()
            reply.add(event)
            if verbose and isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
    result = _whole(reply)
    if verbose:
        print(
            f"\nPrompt: {result.prompt_tokens} tokens, {result.prompt_tps:.3f} tokens-per-sec\n"
            f"Generation: {result.generation_tokens} tokens, {result.generation_tps:.3f} tokens-per-sec\n"
            f"Peak memory: {result.peak_memory:.3f} GB"
        )
    return result


def stream_generate(
    model: Model,
    processor: Processor,
    prompt: str,
    image: Picture | Sequence[Picture] | None = None,
    audio: object = None,
    video: object = None,
    **options: Any,
) -> Iterator[GenerationResult]:
    """The answer piece by piece, and at last a piece without text that has the numbers. Closing it stops the model."""
    options |= {"audio": audio}
    return _pieces(model, answer_request("stream_generate", processor, prompt, image, video, options))


def batch_generate(
    model: Model,
    processor: Processor,
    images: Picture | Sequence[Picture | Sequence[Picture] | None] | None = None,
    audios: object = None,
    prompts: Sequence[str] = (),
    max_tokens: int | Sequence[int] = 128,
    verbose: bool = False,
    **options: Any,
) -> BatchResponse:
    """An answer to each question, all under way at the same time. Questions are templated here, as in mlx-vlm.

    `images` are one, several or none for each question, in order.
    """
    refuse("batch_generate", {key: value for key, value in options.items() if key in OF_BATCHES}, OF_BATCHES)
    options = {key: value for key, value in options.items() if key not in OF_BATCHES}
    pictures = [images] if isinstance(images, str | Path | bytes) else list(images or ())
    limits = [max_tokens] * len(prompts) if isinstance(max_tokens, int) else list(max_tokens)
    if len(pictures) > len(prompts) or len(limits) != len(prompts):
        raise RequestError(f"{len(pictures)} pictures and {len(limits)} max_tokens for {len(prompts)} prompts.")
    pictures += [None] * (len(prompts) - len(pictures))
    requests = []
    for prompt, given, limit in zip(prompts, pictures, limits, strict=True):
        rendered = apply_chat_template(processor, None, prompt, num_images=len(images_of(given)))
        asked = options | {"max_tokens": limit, "audio": audios}
        requests.append(answer_request("batch_generate", processor, rendered, given, None, asked))
    replies = _answer_all(model, requests)
    if verbose:
        print("\n".join(reply.text for reply in replies))
    return BatchResponse([reply.text for reply in replies], [_whole(reply) for reply in replies])


def _answer_all(model: Model, requests: list[GenerateRequest]) -> list[Reply]:
    exchanges = [Exchange(model.client, request) for request in requests]
    replies = [Reply() for _ in requests]
    try:
        for exchange, reply in zip(exchanges, replies, strict=True):
            for event in exchange:
                if isinstance(event, Failed):
                    raise event.to_error()
                reply.add(event)
    finally:
        for exchange in exchanges:
            exchange.cancel()
    return replies


def _pieces(model: Model, request: GenerateRequest) -> Iterator[GenerationResult]:
    generated = 0
    with Exchange(model.client, request) as exchange:
        for event in exchange:
            match event:
                case Failed():
                    raise event.to_error()
                case Finished():
                    yield GenerationResult("", [], [], event.reason.value, event.usage, event.timings)
                case TextDelta() | ThinkingDelta():
                    generated += len(event.tokens)
                    yield _piece(event, generated)
                case ToolCallDelta():
                    yield GenerationResult("", usage=Usage(completion_tokens=generated), tool_calls=[_call(event)])


def _piece(delta: TextDelta | ThinkingDelta, generated: int) -> GenerationResult:
    is_thinking = isinstance(delta, ThinkingDelta)
    return GenerationResult(
        text="" if is_thinking else delta.text,
        token_ids=[token.token_id for token in delta.tokens],
        logprobs=[token.logprob for token in delta.tokens],
        usage=Usage(completion_tokens=generated),
        thinking=delta.text if is_thinking else "",
        top_logprobs=_likeliest(delta.tokens),
    )


def _whole(reply: Reply) -> GenerationResult:
    end = reply.end
    calls = list(map(_call, reply.tool_calls))
    return GenerationResult(
        reply.text,
        reply.token_ids,
        reply.logprobs,
        end.reason.value,
        end.usage,
        end.timings,
        reply.thinking,
        calls,
        _likeliest(reply.tokens),
    )


def _likeliest(tokens: Sequence[TokenLogprob]) -> list[tuple[TokenLogprob, ...]]:
    """Nothing at all if they were not asked for."""
    return [token.alternatives for token in tokens] if any(token.alternatives for token in tokens) else []


def _call(event: ToolCallDelta) -> ToolCall:
    return ToolCall(event.call_id, event.name, event.arguments)
