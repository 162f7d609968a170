"""`POST /v1/completions`: from a body to a request for a bare text to go on. Knows nothing of HTTP.

https://developers.openai.com/api/reference/resources/completions
"""

from typing import Annotated

from pydantic import Field

from engine.api.request import GenerateRequest, Priority, RenderedPrompt
from engine.serve.wire.answer_body import AnswerBody, sampling_of, stops_of
from engine.serve.wire.body import Flag, Positive, Words, invalid, not_supported
from engine.serve.wire.form import FormBody, form_of

USUAL_TOKENS = 16
"""OpenAI's."""


class CompletionsBody(AnswerBody, FormBody):
    prompt: Words | list[Words] | list[int] | list[list[int]]
    """One text. Tokens and several texts are refused."""
    suffix: str | None = None
    echo: Flag | None = None
    best_of: Positive | None = None
    logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None


def completions_request(body: CompletionsBody, *, tenant: str) -> GenerateRequest:
    """Raises `Refused` or `RequestError` for what is not supported or contradicts itself."""
    if body.suffix:
        raise not_supported("suffix", "Write what comes before and after into the prompt, as the model wants it.")
    if body.echo:
        raise not_supported("echo", "Put the prompt before the answer yourself.")
    if body.best_of is not None and body.best_of != (body.n or 1):
        raise not_supported("best_of", "Ask for n answers and choose from them.")
    return GenerateRequest(
        RenderedPrompt(_text(body.prompt)),
        max_tokens=body.max_tokens or USUAL_TOKENS,
        stop=stops_of(body),
        sampling=sampling_of(body),
        logprobs=body.logprobs is not None,
        top_logprobs=body.logprobs or 0,
        response_format=form_of(body),
        priority=Priority.API,
        tenant=tenant,
        n=body.n or 1,
    )


def _text(prompt: str | list[str] | list[int] | list[list[int]]) -> str:
    if isinstance(prompt, list):
        if not all(isinstance(text, str) for text in prompt):
            raise not_supported("prompt of tokens", "Write the prompt as text.")
        if len(prompt) != 1:
            raise not_supported("prompt of several texts", "Send a request for each.")
        prompt = prompt[0]
    if not prompt:
        raise invalid("prompt", "is empty", "Write at least one character.")
    return prompt
