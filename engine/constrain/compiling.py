"""Making constraints ready beside the engine's thread, within a time limit, so that answers go on meanwhile.

Knows nothing of grammars. A generator that yields while there is nothing yet; the thread shares nothing with MLX.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from engine.api.errors import RequestError
from engine.api.settings import ConstraintLimits
from engine.constrain.constraint import GrammarConstraint
from engine.constrain.grammars import Form, build_constraint
from engine.constrain.tokens import grammar_tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

Build = Callable[[Form, "LLTokenizer", ConstraintLimits], GrammarConstraint]
Compiling = Generator[None, None, GrammarConstraint]
"""Yields while there is nothing yet, returns the constraint, raises `RequestError`."""

Result = TypeVar("Result")


@dataclass(slots=True)
class _Work(Generic[Result]):
    """One function on a thread of its own."""

    name: str
    function: Callable[[], Result]
    ended: threading.Event = field(default_factory=threading.Event)
    found: Result | None = None
    error: Exception | None = None

    def start(self) -> "_Work[Result]":
        threading.Thread(target=self._run, name=self.name, daemon=True).start()
        return self

    def _run(self) -> None:
        try:
            self.found = self.function()
        except Exception as error:  # noqa: BLE001 - handed over, and raised again on the engine's thread
            self.error = error
        self.ended.set()

    def result(self) -> Result:
        """Once it has ended."""
        if self.error is not None:
            raise self.error
        return self.found


class ConstraintCompiler:
    """Of one loaded model. Used on the engine's thread only."""

    def __init__(
        self,
        tokenizer: Any,
        end_ids: Iterable[int],
        limits: ConstraintLimits,
        *,
        build: Build = build_constraint,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tokenizer` as for `grammar_tokenizer`; `end_ids` are the tokens at which an answer ends."""
        self._limits = limits
        self._build = build
        self._clock = clock
        self._tokens = _Work("grammar tokenizer", lambda: grammar_tokenizer(tokenizer, end_ids))
        self._has_begun = False
        self._under_way: list[_Work[GrammarConstraint]] = []

    def compile(self, form: Form) -> Compiling:
        """Closed early, it leaves its thread to end by itself; a thread cannot be stopped."""
        if not self._has_begun:
            self._has_begun = True
            self._tokens.start()
        while not self._tokens.ended.is_set():
            yield
        tokens = self._tokens.result()
        deadline = self._clock() + self._limits.compile_s
        while self._compiling() >= self._limits.max_compiling:
            self._check(deadline)
            yield
        work = _Work("constraint", lambda: self._build(form, tokens, self._limits))
        self._under_way.append(work.start())
        while not work.ended.is_set():
            self._check(deadline)
            yield
        return work.result()

    def _compiling(self) -> int:
        self._under_way = [work for work in self._under_way if not work.ended.is_set()]
        return len(self._under_way)

    def _check(self, deadline: float) -> None:
        if self._clock() > deadline:
            raise RequestError(
                f"Making the form of the answer ready took more than {self._limits.compile_s:g} s.",
                "Make the schema, the regular expression or the grammar simpler.",
                code="format_timeout",
            )
