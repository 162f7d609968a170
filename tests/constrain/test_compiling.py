"""Constraints are made beside the engine's thread: it is never held up, and no longer than the limit."""

import threading

import pytest

from engine.api.errors import RequestError
from engine.api.response_format import JsonSchema, Regex
from engine.api.settings import ConstraintLimits
from engine.constrain import compiling
from engine.constrain.compiling import ConstraintCompiler

LIMITS = ConstraintLimits(compile_s=5.0, max_compiling=2)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Builder:
    """Works until it is let go."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.threads = []

    def __call__(self, form, tokens, limits):
        self.threads.append(threading.current_thread())
        self.begun.release()
        assert self.release.wait(60)
        return form


@pytest.fixture
def builder():
    builder = Builder()
    yield builder
    builder.release.set()


def compiler(tiny, **parts):
    return ConstraintCompiler(tiny.checkpoint.tokenizer, tiny.ends, LIMITS, **parts)


def result(compiling):
    while True:
        try:
            next(compiling)
        except StopIteration as end:
            return end.value


def test_a_constraint_is_made_and_works_here(tiny):
    constraint = result(compiler(tiny).compile(Regex("a")))
    constraint.accept(tiny.ids("a")[0])
    assert constraint.stopped


def test_the_tokenizer_is_read_once(tiny, monkeypatch):
    calls = []
    read = compiling.grammar_tokenizer
    monkeypatch.setattr(compiling, "grammar_tokenizer", lambda *given: calls.append(1) or read(*given))
    made = compiler(tiny)
    assert calls == [], "not before the first answer needs it"
    result(made.compile(Regex("a")))
    result(made.compile(Regex("b")))
    assert calls == [1]


def until_begun(work, builder):
    """Until the builder is at it. Each step returns at once, whatever it does."""
    while not builder.begun.acquire(blocking=False):
        next(work)


def test_it_runs_on_another_thread_while_answers_go_on(tiny, builder):
    work = compiler(tiny, build=builder).compile(Regex("a"))
    until_begun(work, builder)
    for _ in range(3):
        assert next(work) is None
    builder.release.set()
    assert result(work) == Regex("a")
    assert builder.threads[0] is not threading.current_thread()


def test_what_takes_longer_than_the_limit_is_given_up(tiny, builder):
    clock = Clock()
    work = compiler(tiny, build=builder, clock=clock).compile(Regex("a"))
    until_begun(work, builder)
    clock.now = LIMITS.compile_s
    next(work)
    clock.now += 0.1
    with pytest.raises(RequestError, match="more than 5 s") as caught:
        next(work)
    assert caught.value.code == "format_timeout"
    assert caught.value.hint


def test_no_more_than_a_few_at_the_same_time_even_of_those_given_up(tiny, builder):
    clock = Clock()
    made = compiler(tiny, build=builder, clock=clock)
    works = [made.compile(Regex(letter)) for letter in "ab"]
    for work in works:
        until_begun(work, builder)
        work.close()
    third = made.compile(Regex("c"))
    for _ in range(3):
        next(third)
    assert len(builder.threads) == 2
    clock.now = LIMITS.compile_s + 1
    with pytest.raises(RequestError, match="more than 5 s"):
        next(third)
    builder.release.set()
    for thread in builder.threads:
        thread.join()
    assert result(made.compile(Regex("d"))) == Regex("d")


def test_a_refusal_comes_back_to_the_engines_thread(tiny):
    with pytest.raises(RequestError, match="'not' at #"):
        result(compiler(tiny).compile(JsonSchema.of({"not": {}})))


def test_a_tokenizer_that_cannot_be_used_is_told_each_time():
    made = ConstraintCompiler(object(), {1}, LIMITS)
    for _ in range(2):
        with pytest.raises(RequestError, match="tokenizer"):
            result(made.compile(Regex("a")))
