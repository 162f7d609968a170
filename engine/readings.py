"""What the loaded model is asked to read without answering: prompts that are counted, texts that become vectors.

Each is a generator that the loop advances between decoding steps, as jobs are. Knows nothing of whose turn it is.
"""

from typing import TYPE_CHECKING

from engine.api.errors import ContextError, MemoryRefused, RequestError
from engine.api.events import Finished, FinishReason, Progress, Stage, Usage
from engine.api.request import CountTokens, EmbedRequest, GenerateRequest
from engine.api.settings import EngineSettings
from engine.jobs import Job

if TYPE_CHECKING:
    from engine.session import Session

MOST_TOKENS = 300_000
"""Of all the texts of one request."""


def reading(request_id: str, request: CountTokens | EmbedRequest, session: "Session", settings: EngineSettings) -> Job:
    if isinstance(request, CountTokens):
        return count(request_id, request, session)
    return embed(request_id, request, session, settings.cache.prefill_step_size)


def count(request_id: str, request: CountTokens, session: "Session") -> Job:
    """Builds the prompt as for an answer; towers see nothing."""
    from engine.run.prompt import Prompt

    wanted = GenerateRequest(
        request.prompt,
        tools=request.tools,
        template_options=request.template_options,
        resize_shape=request.resize_shape,
        tenant=request.tenant,
    )
    for prompt in session.builder.build(wanted):
        if not isinstance(prompt, Prompt):
            yield None
            continue
        usage = Usage(
            prompt_tokens=len(prompt.token_ids),
            image_tokens=len(prompt.slots),
            context_length=session.info.context_length,
        )
        token_ids = tuple(prompt.token_ids.tolist())
        yield Finished(request_id, FinishReason.DONE, usage, notes=prompt.notes, token_ids=token_ids)


def embed(request_id: str, request: EmbedRequest, session: "Session", step_size: int) -> Job:
    """One text after the other, a chunk at a time: no text's vector depends on what it was sent with.

    Raises `RequestError` for a model whose decoder does not show its hidden states, and for more tokens than may be."""
    from engine.run.embedding import embed_text

    texts: list[list[int]] = []
    for text in request.texts:
        texts.append(_tokens(text, session))
        if sum(map(len, texts)) > MOST_TOKENS:
            raise RequestError(
                f"The texts have more than {MOST_TOKENS:,} tokens together.",
                "Ask in several requests.",
                code="too_many_tokens",
            )
        yield None
    _check_memory(max(map(len, texts)), session)
    total, done = sum(map(len, texts)), 0
    embeddings: list[tuple[float, ...]] = []
    for ids in texts:
        for piece in embed_text(session.checkpoint.model, ids, step_size, session.info.name):
            if isinstance(piece, int):
                yield Progress(request_id, Stage.PREFILL, done + piece, total)
            else:
                embeddings.append(piece)
        done += len(ids)
    usage = Usage(prompt_tokens=total, context_length=session.info.context_length)
    yield Finished(request_id, FinishReason.DONE, usage, embeddings=tuple(embeddings))


def _tokens(text: str, session: "Session") -> list[int]:
    """What looks like a control token in a text is text."""
    ids = list(session.checkpoint.tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True))
    context = session.info.context_length
    if context and len(ids) > context:
        raise ContextError(f"A text has {len(ids):,} tokens; {session.info.name} holds {context:,}.", "Cut it up.")
    if not ids:
        raise RequestError("A text comes to no token at all.", "Leave it out.")
    return ids


def _check_memory(tokens: int, session: "Session") -> None:
    """Raises `MemoryRefused` where the caches of the longest text would not fit."""
    from engine.loading.footprint import measure_caches
    from engine.run.room import Need

    need = sum(layer.bytes(tokens) for layer in measure_caches(session.checkpoint.model))
    if not session.room.fits(Need(passing=need), ()):
        raise MemoryRefused(f"There is no memory free to read a text of {tokens:,} tokens.", "Cut it up, or wait.")
