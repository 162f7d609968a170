"""Who runs next: first come, first served, one piece of one prompt a step, everybody's token."""

import pytest

from engine.api.errors import BusyError
from engine.api.request import Priority
from engine.schedule.scheduler import Scheduler
from engine.schedule.sequence import Phase, Sequence


def add(scheduler, *names):
    sequences = [Sequence(name) for name in names]
    for sequence in sequences:
        scheduler.add(sequence)
    return sequences


def test_prompts_go_one_after_the_other_while_answers_all_decode():
    scheduler = Scheduler(8, 9)
    a, b, c = add(scheduler, "a", "b", "c")
    assert scheduler.plan().prompt is a
    a.phase = Phase.DECODE
    assert (scheduler.plan().prompt, scheduler.plan().decode) == (b, (a,))
    b.phase = Phase.DECODE
    assert (scheduler.plan().prompt, scheduler.plan().decode) == (c, (a, b))


def test_no_more_run_than_allowed_and_the_next_follows_when_one_ends():
    scheduler = Scheduler(2, 9)
    a, b, c = add(scheduler, "a", "b", "c")
    a.phase = b.phase = Phase.DECODE
    assert scheduler.plan().prompt is None
    assert (scheduler.running, scheduler.waiting) == (2, 1)
    scheduler.remove(a)
    assert scheduler.plan().prompt is c


def test_several_rows_take_the_places_of_several():
    scheduler = Scheduler(4, 9)
    three, many, one = (Sequence(name, rows=rows) for name, rows in (("three", 3), ("many", 9), ("one", 1)))
    for sequence in (three, many, one):
        scheduler.add(sequence)
    scheduler.plan()
    assert (scheduler.running, scheduler.waiting) == (1, 2), "a small one does not overtake a large one"
    scheduler.remove(three)
    assert scheduler.plan().prompt is many, "more than may run have to run alone"
    assert scheduler.running == 1
    scheduler.remove(many)
    assert scheduler.plan().prompt is one


def test_one_that_waits_can_be_removed():
    scheduler = Scheduler(1, 9)
    a, b = add(scheduler, "a", "b")
    scheduler.plan()
    scheduler.remove(b)
    scheduler.remove(a)
    assert scheduler.idle


def test_somebody_who_waits_goes_first_and_within_a_priority_whoever_came_first():
    scheduler = Scheduler(1, 9)
    names = ["a", "b", "c", "d"]
    kinds = [Priority.API, Priority.API, Priority.CHAT, Priority.CHAT]
    for name, priority in zip(names, kinds, strict=True):
        scheduler.add(Sequence(name, priority))
    order = []
    while (prompt := scheduler.plan().prompt) is not None:
        order.append(prompt.request_id)
        scheduler.remove(prompt)
    assert order == ["c", "d", "a", "b"]


def test_as_many_are_taken_as_may_run_and_wait_and_one_more_is_told_so():
    scheduler = Scheduler(2, 1)
    add(scheduler, "a", "b", "c")
    with pytest.raises(BusyError, match="3 requests"):
        add(scheduler, "d")
    scheduler.plan()
    with pytest.raises(BusyError, match="3 requests"):
        add(scheduler, "d")


def test_those_that_wait_for_something_hold_no_prompt_up():
    scheduler = Scheduler(9, 9)
    a, b, c, d = add(scheduler, "a", "b", "c", "d")
    scheduler.plan()
    a.phase, b.phase = Phase.ROOM, Phase.FORM
    plan = scheduler.plan()
    assert (plan.prompt, plan.held_up, plan.decode) == (c, (a, b), ())
    c.phase = d.phase = Phase.DECODE
    assert scheduler.plan().prompt is None


def test_memory_goes_to_whoever_waits_for_it_first():
    scheduler = Scheduler(9, 9)
    program, other = (Sequence(name, Priority.API) for name in ("program", "other"))
    chat = Sequence("chat", Priority.CHAT)
    for sequence in (program, other, chat):
        scheduler.add(sequence)
    scheduler.plan()
    assert scheduler.is_next_for_room(other)
    program.phase = Phase.ROOM
    assert scheduler.is_next_for_room(program)
    assert not scheduler.is_next_for_room(other)
    assert scheduler.is_next_for_room(chat)
    chat.phase = Phase.ROOM
    assert not scheduler.is_next_for_room(program)


def test_one_of_several_rows_takes_their_places_running_and_waiting():
    scheduler = Scheduler(4, 3)
    add(scheduler, "a")
    several = Sequence("several", rows=4)
    scheduler.add(several)
    (b,) = add(scheduler, "b")
    assert (scheduler.plan().prompt.request_id, scheduler.running) == ("a", 1)
    add(scheduler, "c")
    with pytest.raises(BusyError):
        add(scheduler, "d")
    scheduler.remove(scheduler.plan().prompt)
    assert (scheduler.plan().prompt, scheduler.running) == (several, 1)
    scheduler.remove(several)
    assert (scheduler.plan().prompt, scheduler.running) == (b, 2)
