"""A request as an iterator: in order, to its one end, and cancelled when nobody waits for it."""

import pytest

from engine.api.errors import EngineError, Fault, RequestError
from engine.api.events import Accepted, Finished, FinishReason, Progress, TextDelta, TokenLogprob
from engine.api.request import GenerateRequest, RenderedPrompt
from engine.exchange import Exchange
from engine.reply import Reply
from tests.fake_engine import FakeEngine, fail, speak_until_cancelled

REQUEST = GenerateRequest(RenderedPrompt("x"))


def test_events_come_in_order_up_to_the_last():
    with FakeEngine() as engine:
        exchange = Exchange(engine.client, REQUEST)
        events = list(exchange)
        assert [type(event) for event in events] == [Accepted, Progress, TextDelta, TextDelta, Finished]
        assert list(exchange) == []
        assert exchange.finish() is events[-1]


def test_finish_raises_what_the_request_failed_with():
    with (
        FakeEngine({GenerateRequest: fail(RequestError("No.", "Do that."))}) as engine,
        pytest.raises(EngineError) as raised,
    ):
        Exchange(engine.client, REQUEST).finish()
    assert (raised.value.code, raised.value.hint, raised.value.fault) == ("bad_request", "Do that.", Fault.USER)


def test_leaving_early_cancels_and_waits_for_the_end():
    with FakeEngine({GenerateRequest: speak_until_cancelled("So far")}) as engine:
        with Exchange(engine.client, REQUEST) as exchange:
            next(event for event in exchange if isinstance(event, TextDelta))
        assert exchange.finish().reason is FinishReason.CANCELLED


def test_an_engine_that_is_closed_answers_at_once():
    engine = FakeEngine()
    engine.close()
    with pytest.raises(EngineError, match="shut down"):
        Exchange(engine.client, REQUEST).finish()


def test_a_reply_is_the_sum_of_its_pieces():
    reply = Reply()
    with FakeEngine() as engine:
        for event in Exchange(engine.client, REQUEST):
            reply.add(event)
    assert (reply.text, reply.token_ids, reply.logprobs) == ("Hello world", [10, 11], [-0.5, -0.5])
    assert reply.tokens == [TokenLogprob(10, -0.5), TokenLogprob(11, -0.5)]
    assert reply.end.reason is FinishReason.STOP
