"""Which weight files are read, and what is said about those that cannot be."""

import json
import struct

import mlx.core as mx
import mlx.nn as nn
import pytest

from engine.api.errors import CheckpointError
from engine.loading.safetensors import read_header
from engine.loading.weights import INDEX, bind, open_weights, weight_files


def save(folder, name, **tensors):
    mx.save_safetensors(str(folder / name), tensors)


def write_header(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def refusal(action, *arguments):
    with pytest.raises(CheckpointError) as caught:
        action(*arguments)
    assert caught.value.hint
    return caught.value.message


def test_one_file(tmp_path):
    save(tmp_path, "model.safetensors", a=mx.ones((2, 3)))
    assert mx.array_equal(open_weights(tmp_path)["a"], mx.ones((2, 3)))


def test_nothing_is_read_before_it_is_needed(tmp_path):
    save(tmp_path, "model.safetensors", a=mx.ones((1000, 100)))
    mx.clear_cache()
    before = mx.get_active_memory()
    weights = open_weights(tmp_path)
    assert mx.get_active_memory() - before < 1000
    mx.eval(weights["a"])
    assert mx.get_active_memory() - before >= 400_000


def test_shards_by_index(tmp_path):
    save(tmp_path, "first.safetensors", a=mx.ones((1,)))
    save(tmp_path, "second.safetensors", b=mx.ones((1,)))
    save(tmp_path, "stray.safetensors", c=mx.ones((1,)))
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "first.safetensors", "b": "second.safetensors"}}')
    assert open_weights(tmp_path).keys() == {"a", "b"}


def test_shards_without_index(tmp_path):
    save(tmp_path, "model-00001-of-00002.safetensors", a=mx.ones((1,)))
    save(tmp_path, "model-00002-of-00002.safetensors", b=mx.ones((1,)))
    assert open_weights(tmp_path).keys() == {"a", "b"}


def test_a_missing_shard_is_named(tmp_path):
    save(tmp_path, "first.safetensors", a=mx.ones((1,)))
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "first.safetensors", "b": "second.safetensors"}}')
    assert "second.safetensors" in refusal(open_weights, tmp_path)


def test_an_index_left_over_from_the_original_is_ignored_beside_a_whole_file(tmp_path):
    save(tmp_path, "model.safetensors", a=mx.ones((1,)))
    (tmp_path / INDEX).write_text('{"weight_map": {"a": "model-00001-of-00009.safetensors"}}')
    assert open_weights(tmp_path).keys() == {"a"}


def test_a_torn_index_is_named(tmp_path):
    save(tmp_path, "model.safetensors", a=mx.ones((1,)))
    (tmp_path / INDEX).write_text('{"weight_map"')
    assert INDEX in refusal(open_weights, tmp_path)


def test_second_copies_and_adapters_are_left_out(tmp_path):
    for name in ("model.safetensors", "consolidated.safetensors", "adapter_model.safetensors"):
        save(tmp_path, name, a=mx.ones((1,)))
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["weights.safetensors", "consolidated.safetensors"])
def test_other_names_do_when_they_are_all_there_is(tmp_path, name):
    save(tmp_path, name, a=mx.ones((1,)))
    assert [path.name for path in weight_files(tmp_path)] == [name]


def test_a_folder_without_weights(tmp_path):
    assert "no weights" in refusal(open_weights, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("pytorch_model.bin", "can run code"), ("model.pth", "can run code"), ("model-q4.gguf", "GGUF")],
)
def test_pickles_and_other_formats_are_refused_by_name(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"x")
    message = refusal(open_weights, tmp_path)
    assert name in message
    assert words in message


def test_a_file_cut_short_says_how_much_of_it_is_there(tmp_path):
    save(tmp_path, "model.safetensors", a=mx.ones((100,)))
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    message = refusal(open_weights, tmp_path)
    assert f"model.safetensors is cut short: it has {len(whole) - 50} of {len(whole)} bytes" in message


@pytest.mark.parametrize("held", [0, 5, 20])
def test_a_file_cut_within_its_header(tmp_path, held):
    save(tmp_path, "model.safetensors", a=mx.ones((100,)))
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:held])
    assert "model.safetensors is cut short" in refusal(open_weights, tmp_path)


@pytest.mark.parametrize("header", [b"{nonsense", {"a": {"dtype": "F32"}}, [1], {"a": 3}])
def test_a_damaged_header_is_named(tmp_path, header):
    write_header(tmp_path / "model.safetensors", header)
    assert "The header of model.safetensors is damaged" in refusal(open_weights, tmp_path)


def test_what_is_no_safetensors_file_at_all(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\xff" * 100)
    assert "not a safetensors file" in refusal(read_header, path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in refusal(read_header, path)


def test_a_number_format_mlx_lacks_is_named(tmp_path):
    write_header(tmp_path / "model.safetensors", {"a": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, b"12")
    assert "model.safetensors cannot be opened" in refusal(open_weights, tmp_path)


def linear_weights(**changes):
    return {"weight": mx.ones((4, 3)), "bias": mx.ones((4,))} | changes


def test_bind_fills_the_module():
    module = nn.Linear(3, 4)
    bind(module, linear_weights())
    assert mx.array_equal(module.weight, mx.ones((4, 3)))


def test_bind_names_what_is_missing():
    weights = linear_weights()
    del weights["bias"]
    assert "no weight for bias" in refusal(bind, nn.Linear(3, 4), weights)


def test_bind_names_what_is_left_over_and_how_much_more():
    extra = {f"extra{number}": mx.ones((1,)) for number in range(9)}
    message = refusal(bind, nn.Linear(3, 4), linear_weights(**extra))
    assert "extra0, extra1, extra2, extra3 and 5 more" in message


def test_bind_names_what_does_not_fit():
    message = refusal(bind, nn.Linear(3, 4), linear_weights(weight=mx.ones((5, 3))))
    assert "weight is (5, 3), not (4, 3)" in message


def test_bind_refuses_packed_numbers_for_plain_ones():
    message = refusal(bind, nn.Linear(3, 4), linear_weights(weight=mx.ones((4, 3), dtype=mx.uint8)))
    assert "weight is uint8, not float32" in message
