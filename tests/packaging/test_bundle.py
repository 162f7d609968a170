"""What the app bundle is made of exists, and its Info.plist offers what the app can open."""

import importlib.util
import plistlib
from pathlib import Path

import pytest

from engine.api.media_format import PictureFormat

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"


@pytest.fixture
def bundle(monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGING))
    import bundle

    return bundle


def test_every_package_is_there_and_has_a_reason(bundle):
    hidden = {"PySide6", "shiboken6"}
    # py2app finds a package by its `__init__.py` or single file: a namespace package has no origin.
    specs = {name: importlib.util.find_spec(name) for name in bundle.UNZIPPED if name not in hidden}
    assert [name for name, spec in specs.items() if spec is None or spec.origin is None] == []
    assert all((bundle.UNZIPPED | bundle.COPIED | bundle.EXCLUDED).values())


def test_what_is_copied_whole_is_a_folder_of_its_own(bundle):
    for name in bundle.COPIED:
        spec = importlib.util.find_spec(name)
        assert spec.origin is None
        assert len(list(spec.submodule_search_locations)) == 1


def test_nothing_is_both_in_and_out(bundle):
    assert not set(bundle.UNZIPPED) & set(bundle.EXCLUDED)


def test_information_is_a_property_list_with_every_picture_format(bundle):
    plist = plistlib.loads(plistlib.dumps(bundle.information()))
    types = plist["CFBundleDocumentTypes"][0]["LSItemContentTypes"]
    assert len(types) == len(PictureFormat)
    for kind in PictureFormat:
        assert any(kind.value.lower() in name for name in types), kind


def test_clips_can_be_opened_too(bundle):
    pictures, clips = plistlib.loads(plistlib.dumps(bundle.information()))["CFBundleDocumentTypes"]
    assert clips["LSItemContentTypes"][0] == "public.mpeg-4"
    assert clips["LSHandlerRank"] == pictures["LSHandlerRank"] == "Alternate"
    assert not set(clips["LSItemContentTypes"]) & set(pictures["LSItemContentTypes"])


def test_files_that_go_in_exist(bundle):
    for name in (*bundle.options()["resources"], bundle.SCRIPT):
        assert (PACKAGING.parent / name).exists()
