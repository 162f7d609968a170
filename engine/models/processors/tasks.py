"""Florence-2's tasks in the words that the model was trained on, and the tokens that its answers are made of.

Knows nothing of tensors. Sources: transformers' `processing_florence2.py`, whose words these are, and the processor
that comes with microsoft/Florence-2-large, which adds the tokens to BART's.
"""

from itertools import chain
from typing import Protocol

from mlx_lm.tokenizer_utils import BPEStreamingDetokenizer, StreamingDetokenizer

from engine.api.errors import CheckpointError
from engine.models.base import TokenizerLike

MARKER = "<image>"

SLOTS = (MARKER, "<florence_image>")
"""What may stand for a feature; mlx-vlm saves tokenizers in which the second does."""

TEMPLATE = """{% set alone = {
    '<OCR>': 'What is the text in the image?',
    '<OCR_WITH_REGION>': 'What is the text in the image, with regions?',
    '<CAPTION>': 'What does the image describe?',
    '<DETAILED_CAPTION>': 'Describe in detail what is shown in the image.',
    '<MORE_DETAILED_CAPTION>': 'Describe with a paragraph what is shown in the image.',
    '<OD>': 'Locate the objects with category name in the image.',
    '<DENSE_REGION_CAPTION>': 'Locate the objects in the image, with their descriptions.',
    '<REGION_PROPOSAL>': 'Locate the region proposals in the image.'
} %}{% set about = {
    '<CAPTION_TO_PHRASE_GROUNDING>': 'Locate the phrases in the caption: {}',
    '<REFERRING_EXPRESSION_SEGMENTATION>': 'Locate {} in the image with mask',
    '<REGION_TO_SEGMENTATION>': 'What is the polygon mask of region {}',
    '<OPEN_VOCABULARY_DETECTION>': 'Locate {} in the image.',
    '<REGION_TO_CATEGORY>': 'What is the region {}?',
    '<REGION_TO_DESCRIPTION>': 'What does the region {} describe?',
    '<REGION_TO_OCR>': 'What text is in the region {}?'
} %}{% set said = namespace(text='', pictures=0) %}{% for message in messages %}{% set said.text = '' %}
{%- if message['content'] is string %}{% set said.text = message['content'] %}{% else %}
{%- for part in message['content'] %}{% if part['type'] == 'image' %}{% set said.pictures = said.pictures + 1 %}
{%- else %}{% set said.text = said.text + part['text'] %}{% endif %}{% endfor %}{% endif %}{% endfor %}
{%- set asked = said.text | trim %}{% set said.text = asked %}{% for name, prompt in about.items() %}
{%- if name in asked %}{% set said.text = prompt.replace('{}', asked.replace(name, '') | trim) %}{% endif %}{% endfor %}
{%- for name, prompt in alone.items() %}{% if name == asked %}{% set said.text = prompt %}{% elif name in asked %}
{{- raise_exception(name + ' is a task that takes no other words') }}{% endif %}{% endfor %}
{{- '<image>' * said.pictures }}{{ bos_token }}{{ said.text }}{{ eos_token }}"""
"""Of a conversation only what was said last is asked, about whatever picture there is."""

_BEFORE_SEPARATOR = ("cap", "ncap", "dcap", "grounding", "seg")
_BEHIND_SEPARATOR = ("region_cap", "region_to_desciption", "proposal", "poly")


class GrowingTokenizer(TokenizerLike, Protocol):
    """mlx-lm's wrapper of a transformers tokenizer."""

    detokenizer: StreamingDetokenizer

    def add_tokens(self, new_tokens: list[str]) -> int: ...


def answer_tokens() -> list[str]:
    """Those behind BART's own, in their order: places in thousandths, and what kinds of answers begin and end with."""
    places = [f"<loc_{place}>" for place in range(1000)]
    framed = (_framed("od", "ocr"), places, _framed(*_BEFORE_SEPARATOR), ["<sep>"], _framed(*_BEHIND_SEPARATOR))
    return [*chain(*framed), "<and>", MARKER]


def _framed(*kinds: str) -> list[str]:
    return [token for kind in kinds for token in (f"<{kind}>", f"</{kind}>")]


def add_answer_tokens(tokenizer: GrowingTokenizer) -> None:
    """To a tokenizer of the authors' files, which is BART's; one that has them stays as it is."""
    if len(tokenizer.encode("<loc_0>", add_special_tokens=False)) == 1:
        return
    tokenizer.add_tokens(answer_tokens())
    if isinstance(made := tokenizer.detokenizer, BPEStreamingDetokenizer):
        # It looked up the texts of all tokens when it was made, once for all answers.
        made.tokenmap += answer_tokens()


def slot_token(tokenizer: TokenizerLike, expected: int) -> str:
    """The token of that id. Raises `CheckpointError` where it is none of those that stand for a feature."""
    for token in SLOTS:
        if tokenizer.convert_tokens_to_ids(token) == expected:
            return token
    raise CheckpointError(
        f"The config says that token {expected} stands for pictures, the tokenizer has another there.",
        "The tokenizer's files and config.json do not belong together.",
    )
