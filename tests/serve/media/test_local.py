"""Files that a request names: from the folders that were allowed, and nothing else however it is dressed up."""

import os
from pathlib import Path

import pytest

from engine.api.errors import MediaError
from engine.api.request import Image
from engine.serve.media import local
from engine.serve.media.policy import MediaPolicy
from engine.serve.settings import MediaRules
from tests.serve.media.web import PICTURE, settled


@pytest.fixture
def place(tmp_path):
    """`open/` may be named, `secret/` may not; a picture lies in each."""
    for folder in ("open/deep", "secret", "open-not"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a picture.png").write_bytes(PICTURE)
    (tmp_path / "open" / "ä.png").write_bytes(PICTURE)
    return tmp_path


@pytest.fixture
def rules(place):
    return MediaPolicy(MediaRules(folders=(place / "nowhere", place / "open")))


def refused(rules, named):
    with pytest.raises(MediaError) as error:
        settled(rules, Image(named))
    assert "picture.png" not in str(error.value)
    assert "secret" not in str(error.value)
    return error.value


@pytest.mark.parametrize("form", ["{}", "file://{}", "FILE://localhost{}", "file:{}"])
def test_no_file_may_be_named_by_default(place, form):
    error = refused(MediaPolicy(MediaRules()), form.format(place / "open" / "ä.png"))
    assert error.code == "media_files_off"


def test_a_path_object_is_no_way_around(place):
    assert refused(MediaPolicy(MediaRules()), place / "open" / "ä.png").code == "media_files_off"


def test_a_file_below_an_allowed_folder_is_read(place, rules):
    named = place / "open" / "deep" / "a picture.png"
    forms = (
        str(named),
        named,
        f"file://{named}",
        named.as_uri(),
        f"file://localhost{named}",
        (place / "open/ä.png").as_uri(),
    )
    assert settled(rules, *map(Image, forms)) == [PICTURE] * 6


@pytest.mark.parametrize(
    "named",
    [
        "secret/a picture.png",
        "open/../secret/a picture.png",
        "open/deep/../../secret/a picture.png",
        "open-not/a picture.png",
        "open",
        "open/deep",
        "open/missing.png",
        "secret/missing.png",
        "open/a\0b.png",
        "open/" + "x" * 5000,
    ],
)
def test_anything_else_is_refused_in_the_same_words(place, rules, named):
    error = refused(rules, str(place / named))
    assert (error.code, error.message) == ("media_refused", "The image 1 is no file that may be named here.")


@pytest.mark.parametrize("named", ["open/ä.png", "~/picture.png", "", "file:open/ä.png", "file://[/etc", "iVBORw0K"])
def test_what_is_no_whole_path_is_refused(rules, named, place, monkeypatch):
    monkeypatch.chdir(place)
    assert refused(rules, named).code == "media_refused"


def test_a_file_of_another_machine_is_refused(place, rules):
    assert refused(rules, f"file://elsewhere{place}/open/%C3%A4.png").code == "media_refused"


@pytest.mark.parametrize(
    "end", ["%C3%A4.png?x=1", "%C3%A4.png#x", "%C3%A4.png%00", "%2e%2e%2fsecret%2fa%20picture.png"]
)
def test_an_address_of_a_file_hides_nothing(place, rules, end):
    assert settled(rules, Image(f"file://{place}/open/%C3%A4.png")) == [PICTURE]
    assert refused(rules, f"file://{place}/open/{end}").code == "media_refused"


@pytest.mark.parametrize("link", ["open/link.png", "open/linked/a picture.png"])
def test_a_link_that_leads_out_is_refused_and_one_that_stays_is_not(place, rules, link):
    (place / "open" / "link.png").symlink_to(place / "secret" / "a picture.png")
    (place / "open" / "linked").symlink_to(place / "secret")
    (place / "open" / "inside.png").symlink_to(place / "open" / "deep" / "a picture.png")
    assert refused(rules, str(place / link)).code == "media_refused"
    assert settled(rules, Image(str(place / "open" / "inside.png"))) == [PICTURE]


def test_links_in_a_circle_are_refused(place, rules):
    (place / "open" / "one").symlink_to(place / "open" / "two")
    (place / "open" / "two").symlink_to(place / "open" / "one")
    assert refused(rules, str(place / "open" / "one")).code == "media_refused"


def test_an_allowed_folder_may_be_a_link(place):
    (place / "to-open").symlink_to(place / "open")
    rules = MediaPolicy(MediaRules(folders=(place / "to-open",)))
    assert settled(rules, Image(str(place / "to-open" / "ä.png"))) == [PICTURE]
    assert refused(rules, str(place / "to-open" / ".." / "secret" / "a picture.png")).code == "media_refused"


def test_a_pipe_is_refused_and_not_waited_for(place, rules):
    os.mkfifo(place / "open" / "pipe")
    assert refused(rules, str(place / "open" / "pipe")).code == "media_refused"


def swapped_after_the_check(monkeypatch, swap):
    """What lies there is another thing once it has been looked at."""
    resolve = Path.resolve

    def resolve_then_swap(self, strict=False):
        real = resolve(self, strict=strict)
        if self.suffix == ".png":
            swap()
        return real

    monkeypatch.setattr(local.Path, "resolve", resolve_then_swap)


def test_a_file_that_becomes_a_link_behind_the_check_is_refused(place, rules, monkeypatch):
    named = place / "open" / "ä.png"

    def swap():
        named.unlink()
        named.symlink_to(place / "secret" / "a picture.png")

    swapped_after_the_check(monkeypatch, swap)
    assert refused(rules, str(named)).code == "media_refused"


def test_a_folder_that_becomes_a_link_behind_the_check_is_refused(place, rules, monkeypatch):
    def swap():
        (place / "open" / "deep").rename(place / "moved")
        (place / "open" / "deep").symlink_to(place / "secret")

    swapped_after_the_check(monkeypatch, swap)
    assert refused(rules, str(place / "open" / "deep" / "a picture.png")).code == "media_refused"


def test_a_file_that_becomes_a_pipe_behind_the_check_is_refused(place, rules, monkeypatch):
    named = place / "open" / "ä.png"

    def swap():
        named.unlink()
        os.mkfifo(named)

    swapped_after_the_check(monkeypatch, swap)
    assert refused(rules, str(named)).code == "media_refused"


def test_sizes_are_held(place):
    named = place / "open" / "ä.png"
    size = len(PICTURE)
    for limits, code in (
        ({"max_bytes": size}, None),
        ({"max_bytes": size - 1}, "media_too_large"),
        ({"max_total_bytes": size - 1}, "media_too_large"),
    ):
        rules = MediaPolicy(MediaRules(folders=(place / "open",), **limits))
        if code is None:
            assert settled(rules, Image(str(named))) == [PICTURE]
        else:
            assert refused(rules, str(named)).code == code


def test_what_is_too_large_is_not_read(place, monkeypatch):
    def fdopen(*arguments):
        raise AssertionError("it was read")

    rules = MediaPolicy(MediaRules(folders=(place / "open",), max_bytes=len(PICTURE) - 1))
    monkeypatch.setattr(local.os, "fdopen", fdopen)
    assert refused(rules, str(place / "open" / "ä.png")).code == "media_too_large"


def test_a_file_that_grows_while_it_is_read_is_held_to_its_size(place, monkeypatch):
    named = place / "open" / "ä.png"
    rules = MediaPolicy(MediaRules(folders=(place / "open",), max_bytes=len(PICTURE)))
    fstat = os.fstat

    def fstat_then_grow(file):
        about = fstat(file)
        named.write_bytes(PICTURE * 100)
        return about

    monkeypatch.setattr(local.os, "fstat", fstat_then_grow)
    assert refused(rules, str(named)).code == "media_too_large"


def test_an_empty_file_is_told(place, rules):
    (place / "open" / "empty.png").write_bytes(b"")
    assert "empty" in refused(rules, str(place / "open" / "empty.png")).message


def test_nothing_is_left_open(place, rules):
    before = len(os.listdir("/dev/fd"))
    settled(rules, Image(str(place / "open" / "deep" / "a picture.png")))
    refused(rules, str(place / "open" / "deep"))
    assert len(os.listdir("/dev/fd")) == before
