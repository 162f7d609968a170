"""Conversations to tokens: every picture at its own place, nothing typed becomes one, limits before work."""

import io

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL.Image import Resampling
from tokenizers.processors import TemplateProcessing

from engine.api.errors import CheckpointError, EngineError, RequestError
from engine.api.events import Modality
from engine.api.request import GenerateRequest, Image, Message, RenderedPrompt, Role, Text, Video
from engine.api.settings import MediaLimits
from engine.cache.recent import Recent
from engine.models.base import PreparedMedia
from engine.models.clips.plan import ClipPlan
from engine.models.media.wanted import Wanted
from engine.run.media import MediaReader
from engine.run.prompt import PromptBuilder
from engine.run.template import ChatTemplate
from tests.media import clips


class Frames:
    """A processor whose clips take a slot for each frame, with its number before it."""

    marker = "<vid>"

    def __init__(self, tokenizer):
        self.slot_id = tokenizer.convert_tokens_to_ids("<image>")
        self.facts = None

    def plan(self, facts, wish):
        self.facts = facts
        count = min(wish.max_frames or 4, round(facts.duration * (wish.fps or 2.0)))
        indices = np.linspace(0, facts.count - 1, count).astype(int)
        return ClipPlan(tuple(indices.tolist()), facts.size, Resampling.BICUBIC)

    def prepare(self, frames, facts, plan, digest):
        text = "".join(f"{number}<image>" for number in range(len(frames)))
        return PreparedMedia(Modality.VIDEO, {}, text, len(frames), digest)


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
    def run(request, *, processor=True, clips=None, limits=MediaLimits(), most=None, kept=None):  # noqa: B008 - frozen
        reader = MediaReader(Squares(tokenizer) if processor else None, clips, limits, most, kept or Recent(0))
        template = ChatTemplate(tokenizer, TEMPLATE if clips else None, *reader.markers)
        *pauses, prompt = PromptBuilder(tokenizer, template, reader).build(request)
        assert all(pause is None or isinstance(pause, Wanted) for pause in pauses)
        assert pauses.count(None) >= len(prompt.media)
        return prompt

    return run


TEMPLATE = (
    "{% for m in messages %}{% for p in m.content %}"
    "{{ '<image>' if p.type == 'image' else '<vid>' if p.type == 'video' else p.text }}{% endfor %}{% endfor %}"
)


@pytest.fixture
def seeing_clips(build, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    frames = Frames(tokenizer)
    kept = Recent(1 << 20)

    def run(*parts, **changes):
        return build(GenerateRequest((user(*parts),), **changes), clips=frames, kept=kept)

    run.processor = frames
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


def begun(tokenizer, template, *, processor=True, begin=None):
    """The text of the prompt's ids."""
    tokenizer.chat_template = template
    reader = MediaReader(Squares(tokenizer) if processor else None, None, MediaLimits())
    builder = PromptBuilder(tokenizer, ChatTemplate(tokenizer, None, *reader.markers), reader, begin)
    *_, prompt = builder.build(GenerateRequest((user("hi"),)))
    return tokenizer.decode(prompt.token_ids)


BARE = "{{ messages[0].content }}"


def test_what_the_tokenizer_begins_with_is_put_where_the_template_forgot_it(own):
    """As transformers' processors do; a template for text alone is taken at its word, as its tokenizers do."""
    own.bos_token = "<|end|>"
    name, number = own.bos_token, own.bos_token_id
    own.backend_tokenizer.post_processor = TemplateProcessing(f"{name} $A", special_tokens=[(name, number)])
    assert own.encode("hi") == [number, *own.encode("hi", add_special_tokens=False)]
    assert begun(own, BARE) == "<|end|>hi"
    assert begun(own, "{{ bos_token }}" + BARE) == "<|end|>hi"
    assert begun(own, BARE, processor=False) == "hi"


def test_a_tokenizer_that_puts_nothing_first_is_left_alone(own):
    own.bos_token = "<|end|>"
    assert begun(own, BARE) == "hi"


def test_a_family_may_say_what_every_prompt_begins_with(own):
    assert begun(own, BARE, begin=lambda tokenizer: "<|user|>") == "<|user|>hi"
    assert begun(own, "<|user|>" + BARE, begin=lambda tokenizer: "<|user|>") == "<|user|>hi"


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


def test_a_model_of_pictures_offers_to_see_a_clips_frames(build):
    with pytest.raises(RequestError, match="does not take clips") as caught:
        build(GenerateRequest((user("x", Video(b"")),)))
    assert "--video-as-pictures 8" in caught.value.hint


def test_frames_as_pictures_stand_where_the_clip_stood(build, tokenizer, tmp_path):
    path = clips.write(tmp_path / "a.mp4", 20, size=(16, 16))
    prompt = build(GenerateRequest((user("a", Video(path, as_pictures=3), "b", picture(2)),)))
    text = tokenizer.decode(prompt.token_ids)
    assert text.count("[" + "<image>" * 16 + "]") == 3
    assert text.index("a[") < text.index("]b[")
    assert len({item.digest for item in prompt.media}) == 4


def test_pictures_and_clips_keep_their_order(seeing_clips, tokenizer, tmp_path):
    clip = Video(clips.write(tmp_path / "a.mp4", 20))
    prompt = seeing_clips("a", clip, "b", picture(2), "c", clip)
    assert tokenizer.decode(prompt.token_ids) == (
        "a0<image>1<image>2<image>3<image>b[<image><image>]c0<image>1<image>2<image>3<image>"
    )
    assert [item.modality for item in prompt.media] == [Modality.VIDEO, Modality.IMAGE, Modality.VIDEO]
    assert len(prompt.slots) == 10


def test_what_was_wished_of_a_clip_reaches_the_family(seeing_clips, tmp_path):
    path = clips.write(tmp_path / "a.mp4", 20)
    assert seeing_clips(Video(path, max_frames=2)).media[0].feature_count == 2
    assert seeing_clips(Video(path, fps=1.5)).media[0].feature_count == 3
    digests = {seeing_clips(Video(path, fps=fps)).media[0].digest for fps in (1.0, 1.5, None)}
    assert len(digests) == 3


def test_clips_and_pictures_are_first_fitted_into_a_shape(seeing_clips, tokenizer, tmp_path):
    path = clips.write(tmp_path / "a.mp4", 4, size=(64, 32))
    prompt = seeing_clips(Video(path), picture(10), resize_shape=(20, 20))
    assert seeing_clips.processor.facts.size == (10, 20)
    assert prompt.media[1].feature_count == 20
    assert prompt.media[1].digest != seeing_clips(Video(path), picture(10)).media[1].digest


def test_what_was_made_ready_is_not_decoded_again(seeing_clips, tmp_path, monkeypatch):
    path = clips.write(tmp_path / "a.mp4", 20)
    first = seeing_clips(Video(path), picture(2))
    monkeypatch.setattr("engine.run.media.read_clip", None)
    monkeypatch.setattr("engine.run.media.decode_picture", None)
    again = seeing_clips(Video(path.read_bytes()), picture(2))
    assert [item.digest for item in again.media] == [item.digest for item in first.media]
    for other in (Video(path, fps=1.0), picture(3)):
        with pytest.raises(TypeError):
            seeing_clips(other)
    with pytest.raises(TypeError):
        seeing_clips(picture(2), tenant="somebody else")


def test_an_animated_picture_is_a_clip_where_the_model_takes_clips(seeing_clips, build):
    moving, still = Image(clips.gif([100] * 20)), Image(clips.gif([100]))
    assert [item.modality for item in seeing_clips(moving, still).media] == [Modality.VIDEO, Modality.IMAGE]
    prompt = build(GenerateRequest((user("a", moving),)))
    assert [item.modality for item in prompt.media] == [Modality.IMAGE]


def test_a_typed_marker_of_a_clip_stays_text(seeing_clips, tokenizer, tmp_path):
    path = clips.write(tmp_path / "a.mp4", 20)
    prompt = seeing_clips("what are <vid> and <image>?", Video(path, max_frames=1))
    assert tokenizer.decode(prompt.token_ids) == "what are <vid> and <image>?0<image>"
    assert len(prompt.slots) == 1


def test_a_damaged_clip_is_spoken_of(seeing_clips, tmp_path):
    data = clips.write_avi(tmp_path / "a.avi", 25, size=(640, 480)).read_bytes()
    (note,) = seeing_clips(Video(data[: len(data) // 2], "a.avi")).notes
    assert "a.avi is damaged" in note


def test_a_damaged_clip_is_spoken_of_as_pictures_too(build, tmp_path):
    data = clips.write_avi(tmp_path / "a.avi", 25, size=(640, 480)).read_bytes()
    part = Video(data[: len(data) // 2], "a.avi", as_pictures=3)
    (note,) = build(GenerateRequest((user(part),))).notes
    assert "a.avi is damaged" in note


def test_a_model_that_takes_few_pictures_says_how_many(build):
    broken = Image(b"not a picture")
    with pytest.raises(RequestError, match=r"2 pictures .* at most 1 this model takes"):
        build(GenerateRequest((user(broken, broken),)), most=1)


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
