"""Loading, downloading and choosing models, as the picker sees it."""

import dataclasses

import pytest

from app.state.catalogue import CatalogueEntry, Machine, best_for, read_catalogue
from app.state.model_rows import STARTER_NOTE, RowKind, loaded_name, model_rows, state_text
from app.state.models import STARTER, ModelsState, Task
from engine.api.errors import Fault
from engine.api.events import Failed, Finished, FinishReason, LocalModel, Progress, Stage, Status
from engine.api.request import ListModels, LoadModel, PullModel, UnloadModel, WatchStatus
from tests.app.state.ports import NotingPort, collect
from tests.fake_engine import INFO

GB = 1_000_000_000
SMALL = CatalogueEntry("lab/small", "Small", GB, 2 * GB, 4 * GB, "Captions")
LARGE = CatalogueEntry("lab/large", "Large", 5 * GB, 8 * GB, 30 * GB, "Documents")
MAC = Machine(16 * GB, on_cpu=False)


@pytest.fixture
def port():
    return NotingPort()


@pytest.fixture
def models(port):
    return ModelsState(port, (SMALL, LARGE), MAC)


def finish_load(models, request_id, source=STARTER):
    info = dataclasses.replace(INFO, source=source)
    models.take(Status(request_id, info, 540_000_000, 0, 0))
    models.take(Finished(request_id, FinishReason.DONE, model=info))


def test_loading_shows_its_progress_and_ends_ready(models, port):
    ready = collect(models.loaded_source)
    models.load(STARTER)
    assert port.requests == [LoadModel(STARTER)]
    assert (loaded_name(models), state_text(models)) == ("Starter model", "Starting…")
    models.take(Progress("r1", Stage.LOADING, 45, 100))
    assert state_text(models) == "Loading… 45%"
    finish_load(models, "r1")
    assert models.activity is None
    assert ready == [STARTER]
    assert state_text(models) == "Ready · 540\u00a0MB in memory"


def test_a_download_is_loaded_when_it_is_complete(models, port):
    models.load(STARTER)
    finish_load(models, "r1")
    models.download("lab/large")
    models.take(Progress("r2", Stage.DOWNLOADING, GB, 5 * GB))
    assert loaded_name(models) == "Starter model", "it can be used meanwhile"
    assert state_text(models) == "Large: Downloading 1.0\u00a0GB of 5.0\u00a0GB (20%)"
    models.take(Finished("r2", FinishReason.DONE, path="/cache"))
    assert port.requests[1:] == [PullModel("lab/large"), ListModels(), LoadModel("lab/large")]
    assert models.activity.task is Task.LOADING


def test_a_cancelled_download_loads_nothing(models, port):
    models.download("lab/large")
    models.cancel()
    assert port.cancelled == ["r1"]
    models.take(Finished("r1", FinishReason.CANCELLED))
    assert models.activity is None
    assert port.requests == [PullModel("lab/large")]


def test_choosing_another_gives_up_what_was_on_its_way(models, port):
    models.load("lab/large")
    models.load("lab/small")
    assert port.cancelled == ["r1"]
    models.take(Finished("r1", FinishReason.CANCELLED))
    assert models.activity.source == "lab/small"


def test_a_failure_is_told_and_the_starter_stands_in(models, port):
    failures = collect(models.failed)
    models.load("lab/gone")
    failed = Failed("r1", "bad_checkpoint", "It is not here.", "Download it.", Fault.USER)
    models.take(failed)
    assert failures == [failed]
    assert port.requests[-1] == LoadModel(STARTER)
    models.take(Failed("r2", "bad_checkpoint", "No starter.", "", Fault.USER))
    assert len(port.requests) == 2, "and nothing stands in for the starter"
    assert state_text(models) == "No model is loaded"


def test_a_refused_model_leaves_the_loaded_one(models, port):
    models.load(STARTER)
    finish_load(models, "r1")
    models.load("lab/large")
    models.take(Failed("r2", "not_enough_memory", "Too large.", "", Fault.USER))
    assert models.loaded.source == STARTER
    assert len(port.requests) == 2


def test_a_model_that_the_engine_no_longer_has_is_not_shown_as_loaded(models):
    models.load(STARTER)
    finish_load(models, "r1")
    models.take(Failed("r9", "no_model", "No model is loaded.", "Choose a model first.", Fault.USER))
    assert state_text(models) == "No model is loaded"
    assert not any(row.current for row in model_rows(models))


def test_the_best_model_for_the_memory_is_offered_beside_the_starter(models):
    assert models.better_model() is None
    models.load(STARTER)
    finish_load(models, "r1")
    assert models.better_model() is LARGE
    assert best_for(Machine(6 * GB, on_cpu=False), (SMALL, LARGE)) is SMALL
    assert best_for(Machine(16 * GB, on_cpu=True), (SMALL, LARGE)) is SMALL
    assert best_for(Machine(2 * GB, on_cpu=False), (SMALL, LARGE)) is None


def test_rows_tell_what_is_here_and_what_may_come(models, port):
    models.refresh()
    models.refresh()
    assert port.requests == [ListModels()], "asked once while the answer is on its way"
    here = (
        LocalModel(STARTER, "/starter", "fovea_starter", GB),
        LocalModel("lab/small", "/small", "idefics3", GB),
        LocalModel("lab/odd", "/odd", "mystery", GB, problem="Its type is unknown."),
    )
    models.take(Finished("r1", FinishReason.DONE, models=here))
    models.load("lab/small")
    finish_load(models, "r2", "lab/small")
    rows = model_rows(models)
    assert [(row.kind, row.title) for row in rows] == [
        (RowKind.HEADING, "On this computer"),
        (RowKind.LOCAL, "Starter model"),
        (RowKind.LOCAL, "Small"),
        (RowKind.LOCAL, "odd"),
        (RowKind.HEADING, "Better models to download"),
        (RowKind.OFFER, "Large"),
    ]
    assert rows[1].subtitle == STARTER_NOTE
    assert [row.current for row in rows] == [False, False, True, False, False, False]
    assert (rows[3].enabled, rows[3].subtitle) == (False, "Its type is unknown.")
    assert rows[5].badge == "Get · 5.0\u00a0GB"
    assert "Best for this computer" in rows[5].subtitle


def test_an_offer_that_cannot_fit_says_so_with_numbers(port):
    models = ModelsState(port, (LARGE,), Machine(8 * GB, on_cpu=False))
    row = model_rows(models)[-1]
    assert not row.enabled
    assert "8.0\u00a0GB" in row.subtitle


def test_the_shipped_catalogue_reads_and_grows():
    from tests.app.paths import RESOURCES

    catalogue = read_catalogue(RESOURCES / "catalogue.json")
    assert len(catalogue) >= 4
    needs = [entry.memory_bytes for entry in catalogue]
    assert needs == sorted(needs), "poorest first"
    for entry in catalogue:
        assert entry.repo_id.count("/") == 1
        assert 0 < entry.download_bytes < entry.memory_bytes <= entry.memory_bytes_cpu
        assert entry.good_at


@pytest.mark.parametrize("written", [None, "[{", '[{"name": "Half an entry"}]', "5"])
def test_without_a_readable_catalogue_nothing_is_offered_and_the_log_says_why(tmp_path, caplog, written):
    path = tmp_path / "catalogue.json"
    if written is not None:
        path.write_text(written)
    assert read_catalogue(path) == ()
    assert str(path) in caplog.text


def test_what_a_program_loads_and_unloads_is_seen_too(models, port):
    models.watch()
    models.load(STARTER)
    finish_load(models, "r2")
    ready = collect(models.loaded_source)
    models.take(Status("r1", INFO, 540_000_000, 0, 0, loading="lab/large"))
    assert state_text(models) == "A program loads Large…"
    models.take(Status("r1", dataclasses.replace(INFO, source="lab/large"), GB, 0, 0))
    assert (loaded_name(models), state_text(models)) == ("Large", "Ready · 1.0\u00a0GB in memory")
    models.take(Status("r1", None, 0, 0, 0))
    assert (models.loaded, state_text(models)) == (None, "No model is loaded")
    assert ready == [], "the window's own choice is remembered, and no program's"
    assert port.requests[0] == WatchStatus()


def test_the_windows_own_load_is_nobody_elses(models):
    models.load("lab/large")
    models.take(Status("r9", None, 0, 0, 0, loading="lab/large"))
    assert models.loading_elsewhere == ""


def test_a_model_can_be_let_go(models, port):
    models.unload()
    assert port.requests == [UnloadModel()]
