"""Conversations to tokens: every picture at its own place, nothing typed becomes one, limits before work."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage

from engine.api.errors import CheckpointError, EngineError, RequestError
from engine.api.events import Modality
from engine.api.request import GenerateRequest, Image, Message, RenderedPrompt, Role, Text, Video
from engine.api.settings import MediaLimits
from engine.models.base import PreparedMedia
from engine.run.media import MediaReader
from engine.run.prompt import PromptBuilder
from engine.run.template import ChatTemplate


class Squares:
    """A processor whose pictures take as many slots as they are wide."""

    marker = "<image>"

    def __init__(self, tokenizer):
        self.slot_id = tokenizer.convert_tokens_to_ids("<image>")

    def prepare(self, picture, digest):
        return PreparedMedia(Modality.IMAGE, {}, "[" + "<image>" * picture.width + "]", picture.width, digest)


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


@pytest.fixture
def build(tokenizer):
    def run(request, *, processor=True, limits=MediaLimits()):  # noqa: B008 - frozen
        squares = Squares(tokenizer) if processor else None
        template = ChatTemplate(tokenizer, None, squares.marker if squares else None)
        *pauses, prompt = PromptBuilder(tokenizer, template, MediaReader(squares, None, limits)).build(request)
        assert pauses == [None] * len(prompt.media)
        return prompt

    return run


def picture(width):
    data = io.BytesIO()
    PILImage.new("RGB", (width, 2)).save(data, "PNG")
    return Image(data.getvalue())


def user(*parts):
    return Message(Role.USER, tuple(Text(part) if isinstance(part, str) else part for part in parts))


def test_pictures_keep_their_order_in_any_turn(build, tokenizer):
    request = GenerateRequest(
        (user("a", picture(3), "b", picture(1)), Message(Role.ASSISTANT, (Text("c"),)), user(picture(2), "d"))
    )
    prompt = build(request)
    whole = "<|user|>a[<image><image><image>]b[<image>]<|end|><|assistant|>c<|end|>"
    whole += "<|user|>[<image><image>]d<|end|><|assistant|>"
    expected = tokenizer.encode(whole, add_special_tokens=False)
    assert prompt.token_ids.tolist() == expected
    assert [item.feature_count for item in prompt.media] == [3, 1, 2]
    assert (np.asarray(expected)[prompt.slots] == tokenizer.convert_tokens_to_ids("<image>")).all()


def test_a_marker_that_somebody_typed_stays_text(build, tokenizer):
    prompt = build(GenerateRequest((user("what does <image> mean?", picture(2)),)))
    slot = tokenizer.convert_tokens_to_ids("<image>")
    assert len(prompt.slots) == 2
    assert (prompt.token_ids == slot).sum() == 2
    assert "what does <image> mean?" in tokenizer.decode(prompt.token_ids)


def test_a_typed_marker_without_any_picture_stays_text(build, tokenizer):
    prompt = build(GenerateRequest((user("<image>"),)))
    assert prompt.slots.size == 0


def test_the_same_picture_twice_takes_two_places(build):
    same = picture(2)
    assert build(GenerateRequest((user(same, same),))).slots.size == 4


def test_a_rendered_prompt_is_taken_as_it_is(build, tokenizer):
    prompt = build(GenerateRequest(RenderedPrompt("x<image>y", (picture(2),))))
    assert tokenizer.decode(prompt.token_ids) == "x[<image><image>]y"


@pytest.mark.parametrize("text", ["no marker", "<image> and <image>"])
def test_a_rendered_prompt_with_too_few_or_too_many_markers_is_refused(build, text):
    with pytest.raises(RequestError, match="apply_chat_template") as caught:
        build(GenerateRequest(RenderedPrompt(text, (picture(2),))))
    assert caught.value.code == "marker_mismatch"


def test_a_template_that_loses_a_picture_is_the_checkpoints_fault(own):
    own.chat_template = "{{ messages[0].role }}: hi"
    builder = PromptBuilder(
        own, ChatTemplate(own, None, Squares.marker), MediaReader(Squares(own), None, MediaLimits())
    )
    with pytest.raises(CheckpointError, match="chat template") as caught:
        list(builder.build(GenerateRequest((user(picture(1), "x"),))))
    assert "apply_chat_template" not in caught.value.hint


def test_a_model_without_eyes_refuses_pictures(build):
    with pytest.raises(RequestError, match="does not take pictures"):
        build(GenerateRequest((user("x", picture(1)),)), processor=False)


def test_a_clip_is_refused_by_name(build):
    with pytest.raises(RequestError, match="does not take clips"):
        build(GenerateRequest((user("x", Video(b"")),)))


def test_too_many_pictures_are_refused_before_any_is_opened(build):
    broken = Image(b"not a picture")
    with pytest.raises(RequestError, match=r"3 pictures .* at most 2"):
        build(GenerateRequest((user(broken, broken, broken),)), limits=MediaLimits(max_images=2))


@pytest.mark.parametrize("prompt", [(), (Message(Role.SYSTEM, (Text("be kind"),)),), RenderedPrompt("")])
def test_an_empty_conversation_is_refused(build, prompt):
    with pytest.raises(EngineError):
        build(GenerateRequest(prompt))


def rendered(tokenizer, template, *messages, **options):
    tokenizer.chat_template = template
    return ChatTemplate(tokenizer, None, Squares.marker).render(messages, options)


@pytest.fixture
def own(tiny_llama):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


def test_a_template_that_takes_only_strings_gets_markers_in_place(own):
    template = "{% for m in messages %}{{ m.role + ':' + m.content }};{% endfor %}"
    text = rendered(own, template, Message(Role.SYSTEM, (Text("s"),)), user("a", picture(1), "b"))
    assert text == "system:s;user:a<image>b;"


def test_a_template_that_prints_lists_is_not_mistaken_for_one_that_takes_parts(own):
    assert rendered(own, "{{ messages[-1].content }}", user("a", picture(1))) == "a<image>"


def test_options_reach_the_template(own):
    template = "{{ 'on' if enable_thinking else 'off' }}{{ messages[0].content }}"
    assert rendered(own, template, user("a"), enable_thinking=True) == "ona"


def test_a_template_that_raises_is_a_refusal_with_its_words(own):
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"
    with pytest.raises(RequestError, match="no system role"):
        rendered(own, template, Message(Role.SYSTEM, (Text("s"),)), user("a"))


def test_a_template_cannot_reach_python(own):
    template = "{% if messages[0].content == 'a' %}{{ ''.__class__.__mro__[1].__subclasses__() }}{% endif %}x"
    with pytest.raises((CheckpointError, RequestError)):
        rendered(own, template, user("a"))


@pytest.mark.parametrize(
    "mistake", ["{% for i in range(10**9) %}x{% endfor %}", "{{ 1 // 0 }}", "{{ 'a' + 1 }}", "{% for x in %}"]
)
def test_a_template_with_a_mistake_in_it_is_the_checkpoints_fault(own, mistake):
    with pytest.raises(CheckpointError, match="chat template cannot be rendered") as caught:
        rendered(own, "{{ messages[0].content }}" + mistake, user("a"))
    assert caught.value.hint


def test_a_sentence_from_a_template_ends_once(own):
    with pytest.raises(RequestError) as caught:
        rendered(own, "{{ raise_exception('No system role.') }}", user("a"))
    assert caught.value.message.endswith("No system role.")


def test_without_a_template_the_text_stands_alone(own):
    own.chat_template = None
    assert ChatTemplate(own, None, Squares.marker).render([user("a", picture(1))], {}) == "a<image>"
    assert ChatTemplate(own, "[{{ messages[0].content }}]", Squares.marker).render([user("a")], {}) == "[a]"
