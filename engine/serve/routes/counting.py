"""How many tokens a prompt comes to: the one way in which routes ask for it. Knows no protocol."""

from dataclasses import replace

from fastapi import Request

from engine.api.events import Finished
from engine.api.request import Audio, CountTokens, GenerateRequest, Image, Message, RenderedPrompt, Video
from engine.serve.admission import sizes_of
from engine.serve.desk import Caller, Desk


async def count(desk: Desk, http: Request, caller: Caller, request: CountTokens, asked: str | None) -> Finished:
    """By the model that is `asked` for. Pictures go the way of those that are answered: they get a place first, and
    what they lead to is settled before the engine sees them. Raises `EngineError`."""
    source = await desk.resolve_model(asked)
    request = replace(
        request,
        model=source,
        tenant=caller.tenant,
        template_options=desk.template_options(request.template_options),
    )
    if not _has_media(request.prompt):
        return await desk.ask(request, http=http)
    question = GenerateRequest(request.prompt)
    slot = desk.admission.admit(caller.tenant, *sizes_of(question))
    try:
        settled = await desk.settle(question)
        return await desk.ask(replace(request, prompt=settled.prompt), http=http)
    finally:
        slot.release()


def _has_media(prompt: tuple[Message, ...] | RenderedPrompt) -> bool:
    if isinstance(prompt, RenderedPrompt):
        return bool(prompt.media)
    return any(isinstance(part, Image | Audio | Video) for message in prompt for part in message.parts)
