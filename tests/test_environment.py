"""The environment's variables become settings, once."""

from pathlib import Path

import pytest

from engine.api.errors import RequestError
from engine.environment import is_offline, settings_from_environment, with_disk_cache
from engine.sizes import format_size, parse_size


def test_nothing_set():
    settings = settings_from_environment({})
    assert settings.hub_cache is None
    assert settings.hub_token is None
    assert settings.memory_limit is None
    assert settings.resources == Path(__file__).resolve().parent.parent / "resources"


def test_empty_is_unset():
    names = ("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "FOVEA_RESOURCES", "FOVEA_MEMORY_LIMIT", "RESOURCEPATH")
    assert settings_from_environment(dict.fromkeys(names, "")) == settings_from_environment({})


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"HF_HOME": "/a"}, "hub_cache", Path("/a/hub")),
        ({"HF_HOME": "/a", "HF_HUB_CACHE": "/b"}, "hub_cache", Path("/b")),
        ({"HF_TOKEN": "hf_x"}, "hub_token", "hf_x"),
        ({"RESOURCEPATH": "/App/Contents/Resources"}, "resources", Path("/App/Contents/Resources/resources")),
        ({"RESOURCEPATH": "/App", "FOVEA_RESOURCES": "/r"}, "resources", Path("/r")),
        ({"FOVEA_MEMORY_LIMIT": "8GB"}, "memory_limit", 8 * 10**9),
    ],
)
def test_each_variable(environ, field, value):
    assert getattr(settings_from_environment(environ), field) == value


def test_the_token_is_not_shown():
    assert "hf_secret" not in repr(settings_from_environment({"HF_TOKEN": "hf_secret"}))


def test_a_limit_that_is_no_size_is_named():
    with pytest.raises(RequestError, match="FOVEA_MEMORY_LIMIT is 'lots'"):
        settings_from_environment({"FOVEA_MEMORY_LIMIT": "lots"})


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/h"}, "darwin", "/h/Library/Caches/Fovea"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "darwin", "/h/Library/Caches/Fovea"),
        ({"HOME": "/h"}, "linux", "/h/.cache/fovea"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "linux", "/x/fovea"),
        ({"HOME": "/h", "FOVEA_CACHE": "/c"}, "darwin", "/c"),
        ({"HOME": "/h", "FOVEA_CACHE": ""}, "linux", "/h/.cache/fovea"),
    ],
)
def test_where_prompts_are_kept(environ, platform, folder):
    settings = settings_from_environment(environ)
    assert settings.cache.disk_dir is None
    assert with_disk_cache(settings, environ, platform).cache.disk_dir == Path(folder, "prefixes")


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline(value, offline):
    assert is_offline({"HF_HUB_OFFLINE": value}) is offline


@pytest.mark.parametrize(
    ("text", "count"),
    [("512", 512), ("8GB", 8 * 10**9), ("8 gib", 8 << 30), ("1.5g", 1_500_000_000), ("500 MB", 500_000_000)],
)
def test_sizes_are_read(text, count):
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GB", "-1", "1 PB", "8 giga"])
def test_other_words_are_no_sizes(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (34_000_000, "34 MB"), (1_234_000_000, "1.2 GB")]
)
def test_sizes_are_written(count, text):
    assert format_size(count) == text
