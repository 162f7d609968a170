"""The tokenizer made from the GGUF file, and the chat template beside it."""

import mlx.core as mx
import pytest

from engine.models.families.starter import MARKER

CONVERSATIONS = (
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "user", "content": " hi\n\n"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "{x}"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b>q</b> 'x' 12"}],
    [{"role": "system", "content": ""}, {"role": "user", "content": ""}],
)


@pytest.fixture(scope="module")
def own_template(folder):
    """SmolLM2's chat template as the GGUF file carries it."""
    _, metadata = mx.load(str(next(folder.glob("base/*.gguf"))), return_metadata=True)
    return metadata["tokenizer.chat_template"]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("prompt", [True, False])
def test_without_pictures_the_template_is_smollm2_s_own(starter, own_template, messages, prompt):
    options = {"tokenize": False, "add_generation_prompt": prompt}
    ours = starter.tokenizer.apply_chat_template(messages, **options)
    assert ours == starter.tokenizer.apply_chat_template(messages, chat_template=own_template, **options)


def test_parts_read_like_one_string(starter):
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]
    options = {"tokenize": False, "add_generation_prompt": True}
    whole = starter.tokenizer.apply_chat_template([{"role": "user", "content": "What is this?"}], **options)
    assert starter.tokenizer.apply_chat_template([{"role": "user", "content": parts}], **options) == whole


def test_a_picture_stands_right_after_the_user_s_header_wherever_it_was_put(starter):
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image"}]
    text = starter.tokenizer.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    assert f"<|im_start|>user\n{MARKER}What is this?<|im_end|>" in text


def test_the_marker_s_id_lies_beyond_the_vocabulary(starter):
    rows = starter.model.language_model.model.embed_tokens.weight.shape[0]
    assert starter.processor.slot_id == rows
    assert starter.tokenizer.encode(MARKER, add_special_tokens=False) == [rows]


def test_digits_stand_alone_and_nothing_is_added(starter):
    ids = starter.tokenizer.encode("a 1234")
    assert [starter.tokenizer.decode([token]) for token in ids] == ["a", " ", "1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["it's  two   spaces\n\n\tüñ 🎉 漢字", "def f(x):\n    return x[::-1]\n", ""])
def test_text_comes_back_unchanged(starter, text):
    assert starter.tokenizer.decode(starter.tokenizer.encode(text)) == text
