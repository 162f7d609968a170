"""What an engine remembers, told and forgotten on request, and found again by the next engine."""

import io
import os
import shutil

import pytest
from PIL import Image as PILImage

from engine import load
from engine.api.events import CacheCounts, Failed, Finished, FinishReason
from engine.api.request import CacheStats, GenerateRequest, Image, LoadModel, Message, ResetCaches, Role, Text
from engine.api.settings import CacheSettings, EngineSettings
from engine.host import EngineHost
from tests.recording import ask

LONG = "What the keeper of the lighthouse wrote down in the winter of that year. " * 5
"""More tokens than an entry on the disk has to have."""


def picture():
    data = io.BytesIO()
    PILImage.linear_gradient("L").resize((40, 24)).convert("RGB").save(data, "PNG")
    return Image(data.getvalue())


def question(*parts, tenant=""):
    return GenerateRequest((Message(Role.USER, parts),), max_tokens=10, tenant=tenant)


def about_a_picture(text, tenant=""):
    return question(Text(LONG), picture(), Text(text), tenant=tenant)


class Engine:
    """One run of the program."""

    def __init__(self, source, disk_dir=None, **cache):
        self.host = EngineHost(EngineSettings(cache=CacheSettings(prefill_step_size=64, disk_dir=disk_dir, **cache)))
        self.source = source

    def __enter__(self):
        self.host.start()
        loaded = self.request(LoadModel(str(self.source)))
        assert isinstance(loaded, Finished), loaded
        return self

    def __exit__(self, *exception):
        self.host.close()

    def request(self, request):
        return ask(self.host.client, request).end()

    def answer(self, request):
        """The tokens, and how many of the prompt's were found computed."""
        recorder = ask(self.host.client, request)
        usage = recorder.end().usage
        return recorder.token_ids, usage.cached_tokens

    def report(self, request=None):
        finished = self.request(request or CacheStats())
        assert finished.reason is FinishReason.DONE
        return finished.cache


def test_what_was_saved_is_told(tiny_smolvlm):
    with Engine(tiny_smolvlm) as engine:
        assert engine.report().prefixes == CacheCounts()
        _, nothing = engine.answer(about_a_picture("Who?"))
        _, cached = engine.answer(about_a_picture("Where?"))
        report = engine.report()
    assert (nothing, cached > 256) == (0, True)
    assert (report.prefixes.hits, report.prefixes.misses, report.prefixes.tokens_saved) == (1, 1, cached)
    assert report.prefixes.entries == 2
    assert report.prefixes.bytes > 0
    assert (report.features.entries, report.features.misses) == (1, 1)
    assert report.disk is None


def test_what_is_reset_is_computed_anew(tiny_smolvlm, tmp_path):
    with Engine(tiny_smolvlm, tmp_path) as engine:
        first = engine.answer(about_a_picture("Who?"))
        report = engine.report(ResetCaches())
        assert (report.prefixes, report.features, report.disk) == (CacheCounts(),) * 3
        assert engine.answer(about_a_picture("Who?")) == first
    assert first[1] == 0


@pytest.mark.parametrize("request_", [CacheStats(), ResetCaches()])
def test_without_a_model_there_are_no_caches(request_):
    with EngineHost(EngineSettings()) as host:
        failed = ask(host.client, request_).end()
    assert isinstance(failed, Failed)
    assert failed.code == "no_model"


def test_from_python(tiny_llama):
    with load(str(tiny_llama), settings=EngineSettings())[0] as model:
        assert model.cache_stats().prefixes == CacheCounts()
        assert model.cache_stats().disk is None
        assert model.reset_caches().features.entries == 0


def test_the_next_engine_finds_a_picture_and_its_text_read(tiny_smolvlm, tmp_path):
    with Engine(tiny_smolvlm) as plain:
        expected, _ = plain.answer(about_a_picture("Where?"))
    with Engine(tiny_smolvlm, tmp_path) as yesterday:
        assert yesterday.answer(about_a_picture("Who?"))[1] == 0
    with Engine(tiny_smolvlm, tmp_path) as today:
        found, cached = today.answer(about_a_picture("Where?"))
        report = today.report()
    assert found == expected
    assert cached > 256
    assert (report.disk.hits, report.disk.tokens_saved) == (1, cached)
    # The picture was not even looked at.
    assert report.features.misses == 0


def test_the_next_engine_need_not_look_at_a_picture_again(tiny_smolvlm, tmp_path):
    with Engine(tiny_smolvlm) as plain:
        expected, _ = plain.answer(question(picture(), Text("Where?")))
        assert plain.report().feature_disk is None
    with Engine(tiny_smolvlm, tmp_path, feature_disk=True) as yesterday:
        yesterday.answer(question(Text("Who? "), picture()))
        assert yesterday.report().feature_disk.misses == 1
    # Keys and values in few bits, of the same picture.
    with Engine(tiny_smolvlm, tmp_path, feature_disk=True, kv_bits=8) as today:
        today.answer(question(picture(), Text("Where?")))
        assert today.report().feature_disk.hits == 1
    with Engine(tiny_smolvlm, tmp_path, feature_disk=True) as later:
        found, cached = later.answer(question(picture(), Text("Where?")))
        report = later.report()
        assert (report.feature_disk.hits, report.feature_disk.entries, report.disk.hits) == (1, 1, 0)
        later.report(ResetCaches())
        assert later.report().feature_disk == CacheCounts()
    assert found == expected
    assert cached < 10


def test_another_picture_or_tenant_is_not_taken_for_it(tiny_smolvlm, tmp_path):
    with Engine(tiny_smolvlm, tmp_path) as yesterday:
        yesterday.answer(question(picture(), Text(LONG), tenant="one"))
    other = io.BytesIO()
    PILImage.linear_gradient("L").rotate(180).resize((40, 24)).convert("RGB").save(other, "PNG")
    with Engine(tiny_smolvlm, tmp_path) as today:
        _, of_another = today.answer(question(Image(other.getvalue()), Text(LONG), tenant="one"))
        _, of_nobody = today.answer(question(picture(), Text(LONG), tenant="two"))
        _, of_ones_own = today.answer(question(picture(), Text(LONG), tenant="one"))
    assert of_another < 10
    assert of_nobody == 0
    assert of_ones_own > 256


def test_once_the_weights_have_changed_nothing_is_found(tiny_llama, tmp_path):
    model = shutil.copytree(tiny_llama, tmp_path / "model")
    with Engine(model, tmp_path / "disk") as yesterday:
        yesterday.answer(question(Text(LONG)))
    with Engine(model, tmp_path / "disk", kv_bits=8) as compressed:
        assert compressed.answer(question(Text(LONG)))[1] == 0
    os.utime(model / "model.safetensors", (1000, 1000))
    with Engine(model, tmp_path / "disk") as today:
        assert today.answer(question(Text(LONG)))[1] == 0
    assert len(list((tmp_path / "disk").iterdir())) == 3


def test_two_engines_at_once(tiny_llama, tmp_path):
    with Engine(tiny_llama, tmp_path) as one, Engine(tiny_llama, tmp_path) as other:
        answers = [engine.answer(question(Text(LONG)))[0] for engine in (one, other, one)]
    assert answers[0] == answers[1] == answers[2]
    with Engine(tiny_llama, tmp_path) as next_one:
        assert next_one.answer(question(Text(LONG)))[1] > 256


@pytest.mark.parametrize("cache", [{}, {"prefix_bytes": 0}])
def test_nothing_is_written_where_nothing_is_to_be_kept(tiny_llama, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    disk_dir = tmp_path / "disk" if cache else None
    with Engine(tiny_llama, disk_dir, **cache) as engine:
        engine.answer(question(Text(LONG)))
        assert engine.report().disk is None
    assert list(tmp_path.iterdir()) == []


def test_a_model_whose_files_are_gone_keeps_nothing(tmp_path):
    with Engine("tiny", tmp_path) as engine:
        engine.answer(question(Text(LONG)))
        assert engine.report().disk is None
    assert list(tmp_path.iterdir()) == []
