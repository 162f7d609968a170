"""Who runs next: first come, first served, one piece of one prompt a step, everybody's token."""

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


def test_one_that_waits_can_be_removed():
    scheduler = Scheduler(1, 9)
    a, b = add(scheduler, "a", "b")
    scheduler.plan()
    scheduler.remove(b)
    scheduler.remove(a)
    assert scheduler.idle
