"""Tokenizers load from their files alone: no code, no network."""

import json
import socket

import pytest

from engine.api.errors import CheckpointError
from engine.loading.tokenizer import load_tokenizer
from tests.loading.checkpoints import copy_of


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_tokenizer(folder, ())
    assert caught.value.hint
    return caught.value.message


def test_tokens_and_ends(tiny_llama):
    tokenizer = load_tokenizer(tiny_llama, {3})
    assert tokenizer.decode(tokenizer.encode("grüß")) == "grüß"
    assert tokenizer.eos_token_ids == {3, 256}
    assert tokenizer.has_chat_template


def test_no_network_is_asked(tiny_llama, monkeypatch):
    def refuse(*_):
        raise AssertionError("a tokenizer asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert load_tokenizer(tiny_llama, ()).encode("a")


def test_a_missing_tokenizer_is_named(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in refusal(folder)


@pytest.mark.parametrize("text", ["{", '{"model": {"type": "Nonsense"}}'])
def test_a_damaged_tokenizer_is_named(tiny_llama, tmp_path, text):
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "tokenizer.json").write_text(text)
    assert "tokenizer of model cannot be loaded" in refusal(folder)


def test_a_tokenizer_that_is_code_is_refused_by_name(tiny_llama, tmp_path):
    folder = copy_of(tiny_llama, tmp_path)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("a\nb\n")
    written = {"tokenizer_class": "EvilTokenizer", "auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(written))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert "evil.EvilTokenizer" in refusal(folder)
    assert not (tmp_path / "ran").exists()
