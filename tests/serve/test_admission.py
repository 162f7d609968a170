"""Places for answers: by number, by key and by bytes; and every one of them is given back once."""

import pytest

from engine.api.request import (
    Audio,
    GenerateRequest,
    Image,
    Message,
    RenderedPrompt,
    Role,
    Text,
    ToolCall,
    ToolResult,
    Video,
)
from engine.api.tools import Tool
from engine.serve.admission import Admission, sizes_of
from engine.serve.failures import Overloaded, Refused, TooManyRequests
from engine.serve.settings import Limits


def test_places_are_given_back_once():
    admission = Admission(Limits(max_running=1, max_queue=0))
    slot = admission.admit("one", 1, 1)
    with pytest.raises(Overloaded) as caught:
        admission.admit("other", 1, 1)
    assert caught.value.code == "queue_full"
    assert caught.value.retry_after_s >= 1
    slot.release()
    slot.release()
    admission.admit("other", 1, 1)
    assert (admission.running, admission.waiting) == (0, 1)


def test_one_key_leaves_room_for_others():
    admission = Admission(Limits(max_per_key=2))
    slots = [admission.admit("one", 1, 1) for _ in range(2)]
    with pytest.raises(TooManyRequests):
        admission.admit("one", 1, 1)
    admission.admit("other", 1, 1)
    slots[0].release()
    admission.admit("one", 1, 1)


@pytest.mark.parametrize("sizes", [(60, 0), (0, 60)])
def test_bytes_run_out_before_places_do(sizes):
    admission = Admission(Limits(max_prompt_bytes=100, max_media_bytes=100))
    slot = admission.admit("one", *sizes)
    with pytest.raises(Overloaded):
        admission.admit("one", *sizes)
    slot.release()
    admission.admit("one", *sizes)


@pytest.mark.parametrize("sizes", [(101, 0), (0, 101)])
def test_what_would_never_fit_is_not_told_to_come_back(sizes):
    with pytest.raises(Refused) as caught:
        Admission(Limits(max_prompt_bytes=100, max_media_bytes=100)).admit("one", *sizes)
    assert (caught.value.status, caught.value.retry_after_s) == (413, None)


def test_closed_lets_nobody_in():
    admission = Admission(Limits())
    admission.close()
    for enter in (lambda: admission.admit("one", 1, 1), admission.side_request):
        with pytest.raises(Overloaded) as caught:
            enter()
        assert caught.value.code == "stopping"


def test_small_requests_are_counted_too():
    admission = Admission(Limits())

    def fill():
        while True:
            admission.side_request().__enter__()

    with pytest.raises(Overloaded):
        fill()
    assert admission.side > 1


def test_slow_answers_mean_coming_back_later():
    admission = Admission(Limits(max_running=1, max_queue=0))
    admission.admit("one", 1, 1)

    def told():
        with pytest.raises(Overloaded) as caught:
            admission.admit("one", 1, 1)
        return caught.value.retry_after_s

    before = told()
    admission.learn(1000)
    assert before < told() <= 30


def test_what_a_request_weighs():
    parts = (Text("four"), Image("data:,12"), Audio(b"12345"), Video("ab"))
    call = (ToolCall("1", "f", '{"a": 1}'),)
    result = (ToolResult("1", "seven77"),)
    prompt = (Message(Role.USER, parts), Message(Role.ASSISTANT, call), Message(Role.TOOL, result))
    tool = Tool("f", "desc")
    assert sizes_of(GenerateRequest(prompt)) == (4 + 8 + 7, 8 + 5 + 2)
    assert sizes_of(GenerateRequest(prompt, tools=(tool,)))[0] == 19 + len(tool.parameters) + len("desc")
    assert sizes_of(GenerateRequest(RenderedPrompt("12345", (Image(b"1"),)))) == (5, 1)
