"""Describing as a request: the model is not loaded, and a picture is cut up as its answer would have it."""

import io

import pytest
from PIL import Image as PILImage

from engine.api.errors import Fault
from engine.api.events import Modality
from engine.api.model_facts import PictureCut
from engine.api.request import DescribeModel, Image
from engine.api.settings import EngineSettings, MediaLimits
from engine.host import EngineHost
from tests.recording import ask


@pytest.fixture
def client():
    with EngineHost(EngineSettings(media=MediaLimits(max_pixels=100_000))) as host:
        yield host.client


def picture(width, height):
    data = io.BytesIO()
    PILImage.new("RGB", (width, height), (200, 30, 30)).save(data, "PNG")
    return Image(data.getvalue(), "a.png")


def described(client, folder, image=None):
    return ask(client, DescribeModel(str(folder), image)).end()


def test_what_it_can_do_and_what_it_takes(client, tiny_llama):
    info = described(client, tiny_llama).model
    assert info.modalities == {Modality.TEXT}
    assert [need.tokens for need in info.memory] == [512]
    # Two layers, two heads of keys and of values, eight channels each, four bytes.
    assert info.memory[0].bytes == info.weight_bytes + 512 * 2 * 2 * 2 * 8 * 4
    assert (info.picture, bool(info.device)) == (None, True)


def test_a_picture_is_cut_up(client, tiny_smolvlm):
    info = described(client, tiny_smolvlm, picture(40, 30)).model
    assert info.capabilities.pictures
    assert info.picture == PictureCut((40, 30), (16, 16), 5, 20)


def test_pictures_that_cannot_be(client, tiny_llama, tiny_smolvlm):
    blind = described(client, tiny_llama, picture(40, 30))
    large = described(client, tiny_smolvlm, picture(400, 300))
    torn = described(client, tiny_smolvlm, Image(b"no picture", "b.png"))
    assert [failed.code for failed in (blind, large, torn)] == ["unsupported_media", "bad_media", "bad_media"]
    assert {failed.fault for failed in (blind, large, torn)} == {Fault.USER}
    assert all(failed.hint for failed in (blind, large, torn))


def test_a_model_that_could_not_be_loaded_says_why(client, tiny_llama, tmp_path):
    failed = described(client, tmp_path)
    assert (failed.code, failed.fault) == ("bad_checkpoint", Fault.USER)
