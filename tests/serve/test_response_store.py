"""Responses that are kept: the latest, of each tenant for itself, within bounds."""

import pytest

from engine.api.events import Accepted, Failed, Finished, FinishReason, TextDelta, Usage
from engine.serve.failures import Refused
from engine.serve.kept_response import KeptWriter
from engine.serve.response_store import Kept, ResponseNotFound, ResponseStore
from engine.serve.wire.frames import AnswerFacts
from engine.serve.wire.responses_writer import Manner, ResponsesWriter

ME, YOU = "me", "you"
ASKED = ({"id": "msg_a", "text": "Hello"},)


def kept(name, *, previous=None, status="completed", words="Hi."):
    output = [] if status == "in_progress" else [{"id": f"msg_{name}", "text": words}]
    return Kept({"id": name, "status": status, "output": output}, ({"id": f"msg_in_{name}"},), previous)


def ids(items):
    return [item["id"] for item in items]


def test_no_tenant_sees_what_is_anothers():
    store = ResponseStore()
    store.put(ME, kept("a"))
    for look in (
        lambda: store.get(YOU, "a"),
        lambda: store.remove(YOU, "a"),
        lambda: store.conversation(YOU, "a"),
        lambda: store.heard(YOU, "a"),
        lambda: store.item(YOU, "msg_a"),
    ):
        with pytest.raises(ResponseNotFound):
            look()
    store.discard_open(YOU, "a")
    store.finish(YOU, kept("a", words="Other."))
    assert store.get(ME, "a").response["output"][0]["text"] == "Hi."
    with pytest.raises(ResponseNotFound):
        store.get(YOU, "a")


def test_a_conversation_is_all_that_was_said():
    store = ResponseStore()
    store.put(ME, kept("a"))
    store.put(ME, kept("b", previous="a"))
    assert ids(store.conversation(ME, "b")) == ["msg_in_a", "msg_a", "msg_in_b", "msg_b"]
    assert ids(store.heard(ME, "b")) == ["msg_in_a", "msg_a", "msg_in_b"]
    assert store.conversation(ME, None) == []
    store.remove(ME, "a")
    with pytest.raises(ResponseNotFound):
        store.conversation(ME, "b")
    assert ids(store.heard(ME, "b")) == ["msg_in_b"]


def test_nothing_goes_on_from_what_is_in_progress():
    store = ResponseStore()
    store.put(ME, kept("a", status="in_progress"))
    with pytest.raises(Refused, match="in progress"):
        store.conversation(ME, "a")


def test_an_item_by_its_id():
    store = ResponseStore()
    store.put(ME, kept("a"))
    assert store.item(ME, "msg_a")["text"] == "Hi."
    assert store.item(ME, "msg_in_a") == {"id": "msg_in_a"}


def test_as_many_as_may_be_kept_of_each():
    store = ResponseStore(most=2)
    for name in ("a", "b", "c"):
        store.put(ME, kept(name))
    store.put(YOU, kept("d"))
    with pytest.raises(ResponseNotFound):
        store.get(ME, "a")
    assert [store.get(ME, "b").id, store.get(ME, "c").id, store.get(YOU, "d").id] == ["b", "c", "d"]


def test_no_more_bytes_than_may_be_kept():
    store = ResponseStore(most_bytes=50_000)
    for name in "abcde":
        store.put(ME, kept(name, words="x" * 20_000))
    with pytest.raises(ResponseNotFound):
        store.get(ME, "c")
    assert [store.get(ME, name).id for name in "de"] == ["d", "e"]
    store.remove(ME, "d")
    store.put(ME, kept("f", words="x" * 20_000))
    assert [store.get(ME, name).id for name in "ef"] == ["e", "f"]
    store.put(ME, kept("g", words="x" * 60_000))
    for name in "efg":
        with pytest.raises(ResponseNotFound):
            store.get(ME, name)


def test_a_conversation_that_goes_on_is_not_forgotten():
    store = ResponseStore(most=3)
    store.put(ME, kept("a"))
    store.put(ME, kept("b", previous="a"))
    store.put(ME, kept("x"))
    store.conversation(ME, "b")
    store.put(ME, kept("c", previous="b"))
    assert len(store.conversation(ME, "c")) == 6


def written(*events):
    store = ResponseStore()
    writer = KeptWriter(
        ResponsesWriter(AnswerFacts("5eed", "some/model", 1), {}, Manner()), store, ME, ASKED, "resp_before"
    )
    for event in events:
        writer.write(event)
    return store, writer


BEGUN = Accepted("r1")
SAID = TextDelta("r1", "Hi.")
ENDED = Finished("r1", FinishReason.STOP, Usage())


def test_a_response_is_kept_from_its_beginning():
    store, _ = written(BEGUN)
    found = store.get(ME, "resp_5eed")
    assert (found.is_open, found.request_id, found.input, found.previous) == (True, "r1", ASKED, "resp_before")


def test_a_response_is_kept_to_its_end():
    store, writer = written(BEGUN, SAID, ENDED)
    writer.let_go()
    found = store.get(ME, "resp_5eed")
    assert found.response == writer.whole()
    assert (found.is_open, found.response["status"], found.request_id) == (False, "completed", "")


def test_what_never_ends_is_not_kept():
    store, writer = written(BEGUN, SAID)
    writer.let_go()
    with pytest.raises(ResponseNotFound):
        store.get(ME, "resp_5eed")


def test_what_failed_is_kept_if_anything_was_said():
    failed = Failed.from_error("r1", Refused("No."))
    store, _ = written(BEGUN, SAID, failed)
    assert store.get(ME, "resp_5eed").response["status"] == "failed"
    store, _ = written(BEGUN, failed)
    with pytest.raises(ResponseNotFound):
        store.get(ME, "resp_5eed")


def test_what_was_deleted_on_the_way_stays_deleted():
    store, writer = written(BEGUN)
    store.remove(ME, "resp_5eed")
    writer.write(SAID)
    writer.write(ENDED)
    with pytest.raises(ResponseNotFound):
        store.get(ME, "resp_5eed")
