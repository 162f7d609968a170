"""The contract's own promises: what is out of range is refused by name, errors survive the way to a front."""

import pytest

from engine.api.errors import MediaError, RequestError
from engine.api.events import Failed
from engine.api.request import GenerateRequest
from engine.api.settings import SamplingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", 1.5),
        ("top_k", -3),
        ("min_p", 2),
        ("repetition_penalty", 0),
        ("repetition_context_size", -1),
        ("no_repeat_ngram_size", -1),
        ("seed", -1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(RequestError, match=name):
        SamplingSettings(**{name: value})


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"stop": ("END", "")}])
def test_a_request_that_cannot_be_meant_is_refused(options):
    with pytest.raises(RequestError):
        GenerateRequest((), **options)


def test_an_error_comes_back_as_its_own_class():
    error = Failed.from_error("r1", MediaError("No such file.", "Choose another.")).to_error()
    assert isinstance(error, MediaError)
    assert (error.message, error.hint) == ("No such file.", "Choose another.")


def test_an_error_with_a_code_of_its_own_keeps_both():
    error = Failed.from_error("r1", RequestError("Three pictures.", code="too_many_images")).to_error()
    assert type(error) is RequestError
    assert (error.code, error.fault) == ("too_many_images", RequestError.fault)
