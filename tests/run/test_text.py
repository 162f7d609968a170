"""Text as it may be shown: stop strings never leak, thinking is told from the answer, nothing is lost."""

import random

import pytest

from engine.run.text import Piece, TextStream, ThinkingMarkers


class Letters:
    """A detokenizer whose tokens are pieces of a given text."""

    def __init__(self, pieces):
        self._pieces = pieces
        self.last_segment = ""

    def add_token(self, token):
        self.last_segment = self._pieces[token]

    def finalize(self):
        self.last_segment = ""


def stream(pieces, stop=(), thinking=None):
    text = TextStream(Letters(pieces), stop, thinking)
    shown = [piece for token in range(len(pieces)) if not text.stopped for piece in text.push(token)]
    stopped = text.stopped
    return [*shown, *text.finish()], stopped


def joined(pieces, *, thinking=False):
    return "".join(piece.text for piece in pieces if piece.thinking is thinking)


def test_text_passes_through_at_once():
    text = TextStream(Letters(["Hello", " there"]), ())
    assert text.push(0) == [Piece("Hello")]
    assert text.push(1) == [Piece(" there")]


def test_a_stop_string_across_tokens_is_never_shown():
    shown, stopped = stream(["one ", "E", "N", "D two"], stop=("END",))
    assert joined(shown) == "one "
    assert stopped


def test_what_only_looked_like_a_stop_string_is_shown():
    shown, stopped = stream(["one E", "N", " two"], stop=("END",))
    assert joined(shown) == "one EN two"
    assert not stopped


def test_what_was_held_back_is_shown_at_the_end():
    shown, stopped = stream(["one E"], stop=("END",))
    assert joined(shown) == "one E"
    assert not stopped


def test_the_first_of_several_stop_strings_wins():
    shown, _ = stream(["a", "b", "c", "d"], stop=("cd", "b"))
    assert joined(shown) == "a"


def test_thinking_is_told_from_the_answer():
    shown, _ = stream(
        ["<th", "ink>let me", " see</thi", "nk>It is", " red."], thinking=ThinkingMarkers("<think>", "</think>")
    )
    assert joined(shown, thinking=True) == "let me see"
    assert joined(shown) == "It is red."


def test_thinking_that_the_prompt_already_opened():
    shown, _ = stream(["hm</think>", "Yes."], thinking=ThinkingMarkers("<think>", "</think>", open=True))
    assert joined(shown, thinking=True) == "hm"
    assert joined(shown) == "Yes."


def test_stop_strings_are_for_the_answer_not_for_the_thinking():
    shown, stopped = stream(
        ["hm. so</think>", "Yes. No"], stop=(".",), thinking=ThinkingMarkers("<think>", "</think>", open=True)
    )
    assert joined(shown, thinking=True) == "hm. so"
    assert joined(shown) == "Yes"
    assert stopped


@pytest.mark.parametrize("seed", range(20))
def test_however_the_text_is_cut_the_same_is_shown(seed):
    whole = "abcSTabSTOPdef"
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(1, len(whole)), rng.randint(1, 8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    shown, stopped = stream(pieces, stop=("STOP",))
    assert joined(shown) == "abcSTab"
    assert stopped
