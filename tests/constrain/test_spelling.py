"""Tokens' bytes: put together they are the text, whatever the kind of vocabulary, and half characters stay halves."""

import json
import string

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from engine.api.events import TokenLogprob
from engine.constrain.spelling import Spelling
from engine.loading.tokenizer import load_tokenizer

TEXT = 'A "b"\n\tgrüß 🙂  x</s>'
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
PIECES = dict.fromkeys(("<unk>", "</s>", *BYTES, "▁", "▁▁", "ab", "▁ab", *string.printable[:95]))
VOCABULARY = {piece: number for number, piece in enumerate(PIECES)}


def sentencepiece():
    tokenizer = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def metaspace():
    pieces = [(piece, -float(number)) for piece, number in VOCABULARY.items()]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")])
    return tokenizer


def loaded(made, folder):
    made.add_special_tokens([AddedToken("</s>", special=True), AddedToken("<unk>", special=True)])
    made.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return load_tokenizer(folder, {VOCABULARY["</s>"]})


@pytest.fixture(params=["letters", "letters in a sequence", sentencepiece, metaspace], ids=str)
def tokenizer(request, tiny_llama, tmp_path):
    if not isinstance(request.param, str):
        return loaded(request.param(), tmp_path)
    if request.param == "letters":
        return load_tokenizer(tiny_llama, {256})
    made = Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))
    made.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    return loaded(made, tmp_path)


def test_put_together_they_are_the_text(tokenizer):
    spelling = Spelling(tokenizer)
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    assert b"".join(map(spelling.of, ids)) == TEXT.encode()
    assert b"".join(map(spelling.of, ids)) == TEXT.encode(), "the same when asked again"


def test_control_tokens_are_their_words_and_unknown_ones_nothing(tiny_llama):
    spelling = Spelling(load_tokenizer(tiny_llama, {256}))
    assert spelling.of(257) == b"<|user|>"
    assert spelling.of(9999) == b""
    assert spelling.of(-1) == b""


def test_half_a_character_is_told_as_bytes(tiny_llama):
    tokenizer = load_tokenizer(tiny_llama, {256})
    first, second, a = tokenizer.encode("üa", add_special_tokens=False)
    told = Spelling(tokenizer).spell(TokenLogprob(first, -0.5, (TokenLogprob(second, -1.0), TokenLogprob(a, -2.0))))
    assert (told.token_id, told.logprob, told.bytes) == (first, -0.5, b"\xc3")
    assert [(other.bytes, other.logprob) for other in told.alternatives] == [(b"\xbc", -1.0), (b"a", -2.0)]
    assert [token.text for token in (told, *told.alternatives)] == ["\\xc3", "\\xbc", "a"]
