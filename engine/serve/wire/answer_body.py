"""The fields that all bodies share which ask for an answer: how its tokens are drawn, where it ends, how it is sent.

Knows nothing of prompts. What is not given is left to the model's own settings.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from engine.api.request import MOST_CHOICES
from engine.api.settings import SamplingSettings
from engine.serve.wire.body import Body, Count, Flag, Number, Positive, Words

_MOST_SEED = 2**64
_Penalty = Annotated[Number, Field(ge=-2, le=2)]
_Fraction = Annotated[Number, Field(ge=0, le=1)]
_Stop = Annotated[Words, Field(min_length=1, max_length=1000)]

_SAME_NAME = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "repetition_context_size",
    "presence_penalty",
    "presence_context_size",
    "frequency_penalty",
    "frequency_context_size",
    "xtc_probability",
    "xtc_threshold",
    "no_repeat_ngram_size",
)


class StreamOptions(BaseModel):
    include_usage: Flag | None = None


class AnswerBody(Body):
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: _Fraction | None = None
    top_k: Annotated[int, Field(strict=True, ge=0, le=10_000_000)] | None = None
    min_p: _Fraction | None = None
    repetition_penalty: Annotated[Number, Field(ge=0.01, le=100)] | None = None
    repetition_context_size: Count | None = None
    presence_penalty: _Penalty | None = None
    presence_context_size: Count | None = None
    frequency_penalty: _Penalty | None = None
    frequency_context_size: Count | None = None
    xtc_probability: _Fraction | None = None
    xtc_threshold: Annotated[Number, Field(ge=0, le=0.5)] | None = None
    no_repeat_ngram_size: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[Number, Field(ge=-100, le=100)]],
            Field(max_length=1024),
        ]
        | None
    ) = None
    """By token id."""
    seed: Annotated[int, Field(strict=True, ge=-(2**63), lt=_MOST_SEED)] | None = None
    max_tokens: Positive | None = None
    stop: Annotated[Words, Field(max_length=1000)] | Annotated[list[_Stop], Field(max_length=64)] | None = None
    n: Annotated[int, Field(strict=True, ge=1, le=MOST_CHOICES)] | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None

    @property
    def tells_usage(self) -> bool:
        """Whether a stream ends with what was used."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def sampling_of(body: AnswerBody) -> SamplingSettings:
    """Raises `RequestError` for a token that is named twice, such as `1` and `01`."""
    biases = None if body.logit_bias is None else tuple((int(token), bias) for token, bias in body.logit_bias.items())
    # Seeds of OpenAI's have a sign.
    seed = None if body.seed is None else body.seed % _MOST_SEED
    return SamplingSettings(**{name: getattr(body, name) for name in _SAME_NAME}, logit_bias=biases, seed=seed)


def stops_of(body: AnswerBody) -> tuple[str, ...]:
    if not body.stop:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(dict.fromkeys(body.stop))
