"""Tokens as SentencePiece writes them: a mark for a space, bytes where there is no token for a character."""

import json
import string

import jsonschema
import mlx.core as mx
import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from engine.api.errors import RequestError
from engine.api.response_format import Choice, JsonSchema, Regex
from engine.api.settings import ConstraintLimits
from engine.constrain.grammars import build_constraint
from engine.constrain.tokens import grammar_tokenizer
from engine.loading.tokenizer import load_tokenizer
from engine.run.sampler import Sampler
from tests.constrain.answering import SAMPLED, play

WORDS = ("▁", "▁{", '▁"', '{"', '":', "▁yes", "▁no", "yes", "▁▁", "ab", "▁ab", '"}', "}▁")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
PIECES = dict.fromkeys((*BYTES, *WORDS, *string.printable[:95]))
VOCABULARY = {piece: number for number, piece in enumerate(("<unk>", "</s>", *PIECES))}
END = VOCABULARY["</s>"]


def llama_like():
    """A prefix put before the text, and spaces turned into the mark, as Llama 2 has it."""
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def llama_like_anew():
    """The same, with the prefix left to the splitting of words."""
    tokenizer = llama_like()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


def gemma_like():
    """No prefix."""
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def unigram():
    """T5's kind, with scores, and a decoder that knows the mark itself."""
    pieces = [(piece, -float(number)) for piece, number in VOCABULARY.items()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


@pytest.fixture(params=[llama_like, llama_like_anew, gemma_like, unigram], ids=lambda make: make.__name__)
def tokenizer(request, tmp_path):
    made = request.param()
    made.add_special_tokens([AddedToken("</s>", special=True), AddedToken("<unk>", special=True)])
    made.save(str(tmp_path / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    return load_tokenizer(tmp_path, {END})


def answer(tokenizer, form, seed):
    """As it is shown, of a model that says anything."""
    noise = np.random.default_rng(seed)
    tokens = grammar_tokenizer(tokenizer, {END})
    constraint = build_constraint(form, tokens, ConstraintLimits())
    sampler = Sampler(SAMPLED, mx.array([0]), seed=seed, logprobs=False, constraint=constraint)
    size = len(VOCABULARY) + 7
    [ids] = play([sampler], lambda _: mx.array(noise.normal(0, 2, (1, size)).astype(np.float32)), frozenset({END}))
    detokenizer = tokenizer.detokenizer
    detokenizer.reset()
    for token in ids:
        if token != END:
            detokenizer.add_token(token)
    detokenizer.finalize()
    return detokenizer.text


@pytest.mark.parametrize("seed", range(4))
def test_json(tokenizer, seed):
    schema = {
        "type": "object",
        "properties": {"ab": {"type": "string", "maxLength": 6}, "é": {"enum": ["yes", " no", 1]}},
        "required": ["ab", "é"],
        "additionalProperties": False,
    }
    jsonschema.validate(json.loads(answer(tokenizer, JsonSchema.of(schema), seed)), schema)


@pytest.mark.parametrize("seed", range(4))
def test_words_and_spaces(tokenizer, seed):
    assert answer(tokenizer, Choice(("yes no", "no  ab", "süß")), seed) in ("yes no", "no  ab", "süß")
    assert answer(tokenizer, Regex("ab( ab){3}"), seed) == "ab ab ab ab"


@pytest.mark.parametrize("text", ["yes", "  yes", "ab ab", '{"ab"', '"}', "süß\n", "\n"])
def test_a_text_that_is_forced_comes_in_the_tokens_that_the_model_would_use(tokenizer, text):
    tokens = grammar_tokenizer(tokenizer, {END})
    ids = tokens.tokenize_str(text)
    assert tokens.decode_bytes(ids) == text.encode()
    # Behind something else, there is no prefix.
    written = tokenizer.encode(f'"{text}', add_special_tokens=False)
    if '"' not in text:
        assert written[-len(ids) :] == ids


def test_words_of_a_control_token_are_words(tokenizer):
    assert answer(tokenizer, Choice(("ab</s>ab",)), 0) == "ab</s>ab"
    assert answer(tokenizer, Regex("<unk>(ab)?</s>!"), 1) in ("<unk></s>!", "<unk>ab</s>!")


def test_an_end_that_the_tokenizer_does_not_know_is_not_needed(tokenizer):
    ends = frozenset({len(VOCABULARY) + 3})
    tokens = grammar_tokenizer(tokenizer, ends)
    constraint = build_constraint(Choice(("yes no",)), tokens, ConstraintLimits())
    sampler = Sampler(SAMPLED, mx.array([0]), seed=1, logprobs=False, constraint=constraint)
    [ids] = play([sampler], lambda _: mx.zeros((1, len(VOCABULARY) + 7)), ends)
    assert sampler.complete
    assert tokenizer.decode(ids).strip() == "yes no"


def test_tokens_that_cannot_be_read_byte_by_byte_are_refused(tmp_path):
    made = Tokenizer(models.WordPiece(vocab=VOCABULARY, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(RequestError, match="bytes of its tokens") as caught:
        grammar_tokenizer(load_tokenizer(tmp_path, {END}), {END})
    assert caught.value.code == "unsupported_format"


def test_tokens_that_read_otherwise_than_they_are_written_are_refused(tmp_path):
    made = gemma_like()
    made.normalizer = normalizers.Lowercase()
    made.decoder = decoders.Sequence([decoders.Replace("a", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    with pytest.raises(RequestError, match="its tokens read"):
        grammar_tokenizer(load_tokenizer(tmp_path, {END}), {END})


def test_bytes_as_letters_are_read_inside_a_sequence_and_with_padding(tiny_llama, tmp_path):
    made = Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    made.enable_padding(length=40)
    made.enable_truncation(3)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    tokenizer = load_tokenizer(tmp_path, {256})
    tokens = grammar_tokenizer(tokenizer, {256})
    assert tokens.decode_bytes(tokens.tokenize_str("grüß dich")) == "grüß dich".encode()
