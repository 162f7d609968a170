"""Tensors into files: every type, several files, and an index that says where each is."""

import json

import mlx.core as mx

from engine.loading.safetensors import read_format, read_header
from engine.loading.shards import write_shards
from engine.loading.weights import INDEX, open_weights

TENSORS = {
    "a": mx.random.normal((3, 5)).astype(mx.bfloat16),
    "b": mx.array(3.0),
    "c": mx.arange(8, dtype=mx.float16).reshape(4, 2).T,
    "d": mx.zeros((0, 3)),
    "e": mx.array([True, False]),
    "f": mx.arange(7, dtype=mx.int64),
    "g": mx.arange(3, dtype=mx.uint32),
}


def same(folder):
    found = open_weights(folder)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert mx.array_equal(found[name], tensor)


def test_one_file_with_what_it_was_given(tmp_path):
    given = dict(TENSORS)
    assert list(write_shards(tmp_path, given, "pt")) == list(TENSORS)
    assert given == {}
    same(tmp_path)
    assert read_format(tmp_path / "model.safetensors") == "pt"
    assert list(read_header(tmp_path / "model.safetensors")) == list(TENSORS)


def test_several_files_none_of_them_too_large(tmp_path):
    list(write_shards(tmp_path, dict(TENSORS), "mlx", largest=50))
    same(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in TENSORS.values())
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [path.name for path in files] == [f"model-0000{number}-of-00004.safetensors" for number in (1, 2, 3, 4)]
    assert {name: index["weight_map"][name] for name in "af"} == {"a": files[0].name, "f": files[2].name}
    assert {read_format(path) for path in files} == {"mlx"}


def test_a_tensor_larger_than_a_file_may_be_has_its_own(tmp_path):
    list(write_shards(tmp_path, dict(TENSORS), "mlx", largest=1))
    same(tmp_path)


def test_a_file_that_does_not_say_its_layout_has_pytorchs(tmp_path):
    mx.save_safetensors(str(tmp_path / "model.safetensors"), {"a": mx.ones((1,))})
    assert read_format(tmp_path / "model.safetensors") == "pt"
