"""Thinking: which markers a model uses, when a budget ends it, and that no token of it is counted wrongly."""

from types import SimpleNamespace

import mlx.core as mx
import pytest

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest
from engine.api.settings import SamplingSettings
from engine.constrain.thinking_markers import HARMONY, ThinkingMarkers, find_thinking
from engine.run.answer import AnswerForm
from engine.run.sampler import Sampler
from engine.run.text import Piece, TextStream
from engine.run.thinking import ThinkingBudget

MARKERS = ThinkingMarkers("<think>", "</think>")
OPEN = ThinkingMarkers("<think>", "</think>", open=True)


class Letters:
    """A detokenizer whose tokens are letters."""

    def __init__(self):
        self.last_segment = ""

    def add_token(self, token):
        self.last_segment = chr(token)

    def finalize(self):
        self.last_segment = ""


class Lagging:
    """Draws as the runner does: the last token is read and accepted one draw later, unless the sampler waits."""

    def __init__(self, budget, wishes):
        self.budget = budget
        self.wishes = wishes
        self.unread = None
        self.waited = 0
        self.text = ""

    def step(self):
        if self.budget.waits:
            self.waited += 1
            self.read()
        forced = self.budget.forced()
        drawn = ord(self.wishes[len(self.text)]) if forced is None else forced
        self.read()
        self.unread = drawn
        self.text += chr(drawn)

    def read(self):
        if self.unread is not None:
            self.budget.accept(self.unread)
            self.unread = None


def ids(text):
    return list(map(ord, text))


def stream(markers, calls=None, stop=()):
    return TextStream(Letters(), stop, markers, calls)


def written(limit, wishes, markers=OPEN):
    """What comes out when the model would write `wishes`, wherever nothing is forced upon it."""
    runner = Lagging(ThinkingBudget(limit, stream(markers), ids(markers.closing or markers.end)), wishes)
    for _ in wishes:
        runner.step()
    shown = stream(markers)
    pieces = [piece for token in ids(runner.text) for piece in shown.push(token)] + shown.finish()
    return runner, shown, pieces


def joined(pieces, *, thinking=False):
    return "".join(piece.text for piece in pieces if piece.thinking is thinking)


@pytest.mark.parametrize("limit", range(1, 12))
def test_thinking_that_never_ends_is_ended(limit):
    runner, shown, pieces = written(limit, "x" * 40)
    assert runner.text == "x" * limit + "</think>" + "x" * (32 - limit)
    assert joined(pieces, thinking=True) == "x" * limit
    assert shown.thinking_tokens == limit


def test_a_budget_of_nothing_closes_an_open_block_at_once():
    runner, shown, pieces = written(0, "y" * 20)
    assert runner.text == "</think>" + "y" * 12
    assert shown.thinking_tokens == 0
    assert joined(pieces, thinking=True) == ""


def test_a_budget_of_nothing_closes_a_block_that_the_model_opens():
    runner, shown, _ = written(0, "<think>" + "y" * 20, MARKERS)
    assert runner.text == "<think></think>" + "y" * 12
    assert shown.thinking_tokens == 0


def test_thinking_within_the_budget_is_left_alone():
    text = "<think>let me see</think>red, so red"
    runner, shown, pieces = written(10, text, MARKERS)
    assert runner.text == text
    assert shown.thinking_tokens == len("let me see")
    assert joined(pieces) == "red, so red"


def test_a_marker_under_way_when_the_budget_ends_is_completed():
    runner, shown, pieces = written(6, "abcd</" + "z" * 14)
    assert runner.text == "abcd</think>zzzzzzzz"
    assert joined(pieces, thinking=True) == "abcd"
    assert shown.thinking_tokens == 4
    assert joined(pieces) == "zzzzzzzz"


@pytest.mark.parametrize("limit", range(3, 12))
def test_wherever_the_budget_ends_the_block_ends_once(limit):
    runner, shown, _ = written(limit, "abc</think>zz")
    assert runner.text == "abc</think>zz"
    assert shown.thinking_tokens == 3


def test_the_model_is_not_waited_for_far_from_the_budget():
    runner, _, _ = written(30, "x" * 20 + "</think>" + "yes" * 30)
    assert runner.waited == 0
    runner, _, _ = written(10, "x" * 60)
    # The draw of the last token allowed, those of the marker, and until the answer is seen to have begun.
    assert runner.waited <= len("</think>") + 4


def test_a_budget_of_nothing_waits_until_the_answer_has_begun_and_no_longer():
    runner, _, _ = written(0, "\n\nyes, quite" * 5, MARKERS)
    assert 0 < runner.waited < 6


def test_a_block_opened_again_in_an_answer_is_closed_after_one_token_at_most():
    runner, shown, _ = written(3, "abc</think>yes <think>" + "q" * 30)
    assert runner.text.startswith("abc</think>yes <think>q</think>qq")
    assert shown.thinking_tokens == 4


def test_what_is_forced_changes_only_with_what_is_accepted():
    budget = ThinkingBudget(0, stream(OPEN), ids("</think>"))
    assert [budget.forced(), budget.forced()] == ids("<<")
    budget.accept(ord("<"))
    assert [budget.forced(), budget.forced()] == ids("//")
    assert budget.waits


def test_a_marker_that_ends_nothing_is_not_forced_for_ever():
    budget = ThinkingBudget(0, stream(OPEN), ids("!"))
    budget.accept(ord("!"))
    assert budget.forced() is None


def test_channels_get_on_to_the_answer():
    runner, shown, pieces = written(4, HARMONY.start + "x" * 90, HARMONY)
    assert f"<|message|>xxxx{HARMONY.closing}xxx" in runner.text
    assert shown.thinking_tokens == 4
    assert set(joined(pieces)) == {"x"}


def test_the_words_around_an_answer_are_dropped_once_the_model_has_thought():
    granite = ThinkingMarkers("<think>", "</think>", frame=("<response>", "</response>"))
    assert shown_of("<think>hm</think><response>Yes.</response>", granite) == ("hm", "Yes.")
    assert shown_of("A <response> is XML.", granite) == ("", "A <response> is XML.")


def test_channels_are_told_apart():
    text = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes."
    assert shown_of(text, HARMONY) == ("hm", "Yes.")
    assert shown_of("<|channel|>final<|message|>Yes.", HARMONY) == ("", "Yes.")


def shown_of(text, markers):
    watch = stream(markers)
    pieces = [piece for token in ids(text) for piece in watch.push(token)] + watch.finish()
    return joined(pieces, thinking=True), joined(pieces)


def test_a_token_that_is_half_thinking_half_marker_counts_and_one_of_the_marker_does_not():
    class Pieces(Letters):
        def add_token(self, token):
            self.last_segment = ("hm", " so</th", "ink", ">Ye", "s")[token]

    watch = TextStream(Pieces(), (), OPEN)
    pieces = [piece for token in range(5) for piece in watch.push(token)]
    assert watch.thinking_tokens == 2
    assert pieces == [Piece("hm", True), Piece(" so", True), Piece("Ye"), Piece("s")]


class Tokenizer:
    """As much of mlx-lm's wrapper as tells thinking."""

    def __init__(self, vocabulary=(), pair=None):
        self.vocabulary = {word: number for number, word in enumerate(vocabulary)}
        self.has_thinking = pair is not None
        self.think_start, self.think_end = pair or (None, None)

    def get_vocab(self):
        return self.vocabulary


@pytest.mark.parametrize(
    ("tokenizer", "template", "start"),
    [
        (Tokenizer(pair=("<|channel>thought", "<channel|>")), "", "<|channel>thought"),
        (Tokenizer(["[THINK]", "[/THINK]"]), "", "[THINK]"),
        (Tokenizer(), "{{ m.content.split('</think>')[-1] }}<think>\n", "<think>"),
        (Tokenizer(["<|im_middle|>"]), "<|im_middle|>", "◁think▷"),
        (Tokenizer(), "<|start|>assistant<|channel|>analysis<|message|>", HARMONY.start),
        (Tokenizer(), "<|START_THINKING|> <|END_THINKING|>", "<|START_THINKING|>"),
    ],
)
def test_markers_come_from_the_vocabulary_or_the_template(tokenizer, template, start):
    assert find_thinking(tokenizer, template).start == start


def test_a_model_without_markers_does_not_think():
    assert find_thinking(Tokenizer(["<think>"]), "{{ messages }}") is None


def test_what_granite_puts_around_its_answer_is_in_its_template():
    template = "thoughts between <think></think>, your response between <response></response>"
    assert find_thinking(Tokenizer(), template).frame == ("<response>", "</response>")
    assert find_thinking(Tokenizer(), "<think></think>").frame == ()


@pytest.mark.parametrize(
    ("prompt", "is_open"),
    [("assistant\n<think>\n", True), ("<think>\n\n</think>\n\n", False), ("what is <think>?<|end|>", False)],
)
def test_whether_a_prompt_ends_inside_a_block(prompt, is_open):
    assert MARKERS.at(prompt).open is is_open


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    from engine.loading.tokenizer import load_tokenizer

    return load_tokenizer(tiny_llama, ())


def test_a_budget_of_a_real_tokenizer_ends_in_its_own_tokens(tokenizer):
    form = AnswerForm(tokenizer, "<think></think>")
    budget = form.budget(GenerateRequest((), thinking_budget=2), "assistant<think>\n")
    drawn = []
    for letter in tokenizer.encode("abcdefghijklmnop", add_special_tokens=False):
        forced = budget.forced()
        drawn.append(letter if forced is None else forced)
        budget.accept(drawn[-1])
    assert tokenizer.decode(drawn) == "ab</think>klmnop"


def test_a_sampler_draws_what_its_budget_forces(tokenizer):
    end = tokenizer.encode("</think>", add_special_tokens=False)
    budget = AnswerForm(tokenizer, "<think></think>").budget(GenerateRequest((), thinking_budget=1), "<think>")
    sampler = Sampler(SamplingSettings(temperature=0.0), mx.array([1]), seed=0, logprobs=True, budget=budget)
    logits = mx.zeros((1, 300)).at[:, ord("x")].add(3)
    drawn, logprobs = [], []
    for _ in range(len(end) + 3):
        assert sampler.waits or len(drawn) > len(end)
        draw = sampler.draw(logits)
        drawn.append(draw.token.item())
        logprobs.append(draw.logprob.item())
        sampler.accept(drawn[-1])
    assert drawn == [ord("x"), *end, ord("x"), ord("x")]
    assert logprobs[1] == pytest.approx(logprobs[0] - 3, abs=1e-5)


def test_the_block_that_a_form_lets_pass(tokenizer):
    block = AnswerForm(tokenizer, "<think></think>").block("<|assistant|><think>\n")
    assert (tokenizer.decode(block.start), block.decode(block.end), block.is_open) == ("<think>", block.end_text, True)
    assert AnswerForm(tokenizer, "").block("") is None


def test_without_a_limit_there_is_no_budget(tokenizer):
    assert AnswerForm(tokenizer, "<think></think>").budget(GenerateRequest(()), "") is None


def test_a_budget_for_a_model_that_does_not_think_is_refused(tokenizer):
    with pytest.raises(RequestError, match="thinking_budget"):
        AnswerForm(tokenizer, "").budget(GenerateRequest((), thinking_budget=2), "")


def test_a_budget_below_nothing_is_refused():
    with pytest.raises(RequestError, match="thinking_budget"):
        GenerateRequest((), thinking_budget=-1)


def test_control_tokens_are_no_text_but_thinking_markers_are(tokenizer):
    control = SimpleNamespace(
        has_thinking=True,
        think_start="<|user|>",
        think_end="<|end|>",
        get_vocab=tokenizer.get_vocab,
        has_tool_calling=False,
        all_special_ids=[*range(256, 260)],
        encode=tokenizer.encode,
        detokenizer=tokenizer.detokenizer,
    )
    watch = AnswerForm(control, "").stream(GenerateRequest(()), "")
    tokens = tokenizer.encode("<|assistant|><|user|>hm<image><|end|>Yes", add_special_tokens=False)
    pieces = [piece for token in tokens for piece in watch.push(token)] + watch.finish()
    assert (joined(pieces, thinking=True), joined(pieces)) == ("hm", "Yes")
