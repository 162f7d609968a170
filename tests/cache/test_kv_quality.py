"""The benchmark of compressed caches, on a tiny model: what it measures, not what comes out for a real one."""

import pytest

from benchmarks.kv_quality import ANSWER, PLACES, TEXT, measure, schemes, table
from engine.cache.uniform import Uniform
from engine.loading.checkpoint import prepare


@pytest.fixture(scope="module")
def rows(tiny_llama):
    model = prepare("tiny", tiny_llama, None).model
    ids = list(TEXT.read_bytes()[:500])
    return measure(model, ids, {"plain": None, "8": (Uniform(8), Uniform(8)), "2": (Uniform(2), Uniform(2))})


def test_the_first_scheme_agrees_with_itself(rows):
    assert (rows[0].bits, rows[0].same, rows[0].agreeing) == (16, 1.0, (ANSWER,) * PLACES)


def test_fewer_bits_are_smaller_and_further_off(rows):
    plain, eight, two = rows
    # Heads of 8 are filled up to 32, which is more than a plain cache takes.
    assert two.cache_bytes < eight.cache_bytes
    assert two.bits < eight.bits
    assert abs(eight.perplexity - plain.perplexity) < abs(two.perplexity - plain.perplexity)
    assert two.same < eight.same
    assert all(0 <= count <= ANSWER for row in rows for count in row.agreeing)


def test_the_table_has_a_line_for_each_scheme(rows):
    header, _, *lines = table(rows).splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| plain", "| 8", "| 2"]
    assert {line.count("|") for line in lines} == {header.count("|")}


def test_every_scheme_that_is_offered_is_measured():
    assert list(dict(schemes())) == [
        "plain",
        *(f"uniform {bits}" for bits in (8, 6, 4, 3, 2)),
        *(f"turboquant {bits}" for bits in ("4", "3.5", "3", "2")),
        "turboquant keys 4, values 3",
    ]
