"""The log of requests, and how busy the last minute was."""

from app.state.request_log import MOST_LINES, RequestLine, RequestLog, Throughput
from tests.app.state.server_ports import Clock


def line(number=0, tokens=0):
    return RequestLine(float(number), "127.0.0.1", "GET /v1/models", 200, completion_tokens=tokens)


def test_the_newest_line_comes_first_and_the_oldest_goes():
    log = RequestLog(Clock())
    for number in range(MOST_LINES + 5):
        log.add(line(number))
    assert len(log.lines) == MOST_LINES
    assert (log.lines[0].at, log.lines[-1].at) == (MOST_LINES + 4, 5)


def test_only_the_last_minute_counts():
    clock = Clock()
    log = RequestLog(clock)
    log.add(line(tokens=600))
    clock.now += 40
    log.add(line(tokens=60))
    assert log.throughput() == Throughput(2, 11.0)
    clock.now += 30
    assert log.throughput() == Throughput(1, 1.0)
    clock.now += 60
    assert log.throughput() == Throughput(0, 0.0)


def test_a_cleared_list_does_not_undo_what_was_served():
    log = RequestLog(Clock())
    log.add(line(tokens=60))
    log.clear()
    assert (log.lines, log.throughput()) == ((), Throughput(1, 1.0))


def test_bodies_are_in_no_representation():
    assert "secret" not in repr(RequestLine(0.0, "", "", 200, asked="secret", answered="secret"))
