"""Places in answers, in pixels of the picture as it was given."""

import numpy as np
import pytest

from engine.api.events import Modality, Region
from engine.models.base import PreparedMedia
from engine.models.grounding.json_places import json_places
from engine.models.grounding.loc_tokens import doctags_places, florence_places, paligemma_places
from engine.models.grounding.question import Question, in_parts
from engine.models.grounding.tags import boxes_between, point_tags
from engine.models.registry import find_family

WIDE = (200, 400)
"""Height and width."""


def question(*sizes, prompt="", config=None, grid=None):
    arrays = {} if grid is None else {"grid": np.array(grid)}
    media = tuple(PreparedMedia(Modality.IMAGE, arrays, "", 0, "") for _ in sizes)
    return Question(prompt, sizes or (WIDE,), media, config or {})


def places(regions):
    return [(found.label, *found.points) for found in regions]


THOUSANDTHS = json_places(in_parts(1000))


def test_boxes_in_json():
    answer = '```json\n[{"bbox_2d": [100, 500, 250, 1000], "label": "a cat"}, {"point_2d": [0, 10], "label": "b"}]\n```'
    assert places(THOUSANDTHS(answer, question())) == [("a cat", (40, 100), (100, 200)), ("b", (0, 2))]


def test_an_answer_cut_short_gives_what_is_whole():
    answer = '[{"bbox_2d": [0, 0, 500, 500], "label": "x"}, {"bbox_2d": [1, 2'
    assert places(THOUSANDTHS(answer, question())) == [("x", (0, 0), (200, 100))]


@pytest.mark.parametrize(
    "answer",
    [
        '{"bbox_2d": [1, 2, 3]}',
        '{"bbox_2d": "1 2 3 4"}',
        '{"bbox_2d": [true, 1, 2, 3]}',
        "{bbox_2d: [1, 2, 3, 4]}",
        "{}",
    ],
)
def test_what_makes_no_sense_is_no_place(answer):
    assert THOUSANDTHS(answer, question()) == ()


def test_places_outside_are_moved_to_the_border_and_corners_into_order():
    answer = '{"bbox_2d": [1200, 900, -5, 100]}'
    assert places(THOUSANDTHS(answer, question())) == [("", (0, 20), (400, 180))]


def test_rows_first():
    locate = json_places(in_parts(1000), rows_first=True)
    assert places(locate('{"box_2d": [100, 0, 200, 1000], "label": "x"}', question())) == [("x", (0, 20), (400, 40))]


def test_of_several_pictures_the_last_is_meant():
    (found,) = THOUSANDTHS('{"point_2d": [500, 500]}', question(WIDE, (10, 20)))
    assert found == Region(1, "", ((10, 5),))


def test_without_pictures_there_are_no_places():
    asked = Question("", (), (), {})
    for locate in (THOUSANDTHS, paligemma_places, florence_places, doctags_places, point_tags):
        assert locate('{"point_2d": [5, 5]}<loc0000><loc0000><loc0001><loc0001> x<point x="1" y="1"/>', asked) == ()


def test_paligemma_writes_rows_first_in_parts_of_1024():
    answer = "<loc0256><loc0512><loc1023><loc1024> cat ; <loc0000><loc0000><loc0512><loc0256> a dog"
    found = places(paligemma_places(answer, question()))
    assert found[0] == ("cat", (200, 50), (400, pytest.approx(199.8, abs=0.01)))
    assert found[1] == ("a dog", (0, 0), (100, 100))


def test_florence_writes_boxes_in_the_middle_of_thousandths():
    answer = "car<loc_0><loc_499><loc_999><loc_999><loc_10><loc_10><loc_20><loc_20>door<loc_1><loc_2><loc_3><loc_4>"
    found = places(florence_places(answer, question(prompt="Locate the objects with category name in the image.")))
    assert [label for label, *_ in found] == ["car", "car", "door"]
    assert found[0][1] == pytest.approx((0.2, 99.9))
    assert found[0][2] == pytest.approx((399.8, 199.9))


def test_florence_writes_text_in_quads():
    answer = "hello<loc_0><loc_0><loc_100><loc_0><loc_100><loc_50><loc_0><loc_50>"
    (found,) = florence_places(answer, question(prompt="What is the text in the image, with regions?"))
    assert (found.label, len(found.points)) == ("hello", 4)


def test_florence_writes_outlines_for_masks():
    answer = (
        "<loc_0><loc_0><loc_100><loc_0><loc_50><loc_100><sep><loc_500><loc_500><loc_600><loc_500><loc_550><loc_600>"
    )
    found = florence_places(answer, question(prompt="Locate the cat in the image with mask"))
    assert [len(each.points) for each in found] == [3, 3]


@pytest.mark.parametrize("number", ["9" * 5000, "1.2.3", "1e999", "-7", "NaN"])
def test_no_number_is_too_strange(number):
    """An answer is whatever a model writes; reading it must never end a request."""
    answer = (
        f'{{"bbox_2d": [{number}, 1, {number}, 3]}}<box>[[{number}, 1, 2, {number}]]</box>'
        f"<loc_{number}><loc_1><loc_2><loc_3><text><loc_{number}><loc_1><loc_2><loc_3>"
        f'<points x="{number}" y="3"/><points coords="{number} 1 100 100; 1 {number} 100 100">x</points>'
    )
    tags = boxes_between(("<ref>", "</ref>"), ("<box>", "</box>"), in_parts(1000))
    for locate in (THOUSANDTHS, paligemma_places, florence_places, doctags_places, point_tags, tags):
        for found in locate(answer, question()):
            assert all(0 <= x <= 400 and 0 <= y <= 200 for x, y in found.points)


def test_doctags_in_parts_of_500():
    answer = "<doctag><text><loc_50><loc_100><loc_250><loc_500>Hello</text><picture><loc_0><loc_0><loc_1><loc_1>"
    found = places(doctags_places(answer, question()))
    assert found[0] == ("text: Hello", (40, 40), (200, 200))
    assert found[1][0] == "picture"


def test_boxes_between_tags():
    locate = boxes_between(("<ref>", "</ref>"), ("<box>", "</box>"), in_parts(1000))
    answer = "<ref>two cats</ref><box>[[0, 0, 500, 500], [500, 500, 1000, 1000]]</box> and <box>[[1,2,3,4]]</box>"
    assert [label for label, *_ in places(locate(answer, question()))] == ["two cats", "two cats", ""]


def test_points_of_molmo():
    answer = 'Two: <points x1="10.0" y1="50" x2="20.5" y2="0.5" alt="mugs">mugs</points> <point x="50" y="x">n</point>'
    assert places(point_tags(answer, question())) == [("mugs", (40, 100)), ("mugs", (82, 1))]
    assert places(point_tags('<point x=" 5" y="10" alt="a">b</point>', question())) == [("a", (20, 20))]


def test_points_of_molmo_2_name_their_picture():
    answer = '<points coords="1 1 100 500 2 250 000;2 3 999 999;7 1 100 100">boats</points>'
    found = point_tags(answer, question(WIDE, (1000, 1000)))
    assert [(each.picture, each.label, each.points) for each in found] == [
        (0, "boats", ((40, 100),)),
        (0, "boats", ((100, 0),)),
        (1, "boats", ((999, 999),)),
    ]


VISION = {"patch_size": 14}
BOX = '{"bbox_2d": [28, 14, 56, 28], "label": "cat"}'


@pytest.mark.parametrize(
    ("config", "answer", "expected"),
    [
        # A picture of 200 x 400 that was scaled to 8 x 16 patches of 14: a pixel of it is 1.786 of ours.
        ({"model_type": "qwen2_5_vl", "vision_config": VISION}, BOX, (50, 25)),
        ({"model_type": "qwen3_vl"}, '{"bbox_2d": [125, 125, 500, 500]}', (50, 25)),
        ({"model_type": "qwen3_5"}, '{"bbox_2d": [125, 125, 500, 500]}', (50, 25)),
        ({"model_type": "qwen2_vl"}, "<|box_start|>(125,125),(500,500)<|box_end|>", (50, 25)),
        ({"model_type": "glm4v"}, "<|begin_of_box|>[[125, 125, 500, 500]]<|end_of_box|>", (50, 25)),
        ({"model_type": "internvl"}, "<ref>a</ref><box>[[125, 125, 500, 500]]</box>", (50, 25)),
        ({"model_type": "deepseek_ocr2"}, "<|ref|>a<|/ref|><|det|>[[125, 125, 500, 500]]<|/det|>", (50.05, 25.03)),
        ({"model_type": "gemma4"}, '{"box_2d": [125, 125, 500, 500]}', (50, 25)),
        ({"model_type": "paligemma"}, "<loc0128><loc0128><loc0512><loc0512> a", (50, 25)),
        ({"model_type": "florence2"}, "a<loc_125><loc_125><loc_500><loc_500>", (50.2, 25.1)),
        ({"model_type": "molmo2"}, '<points coords="1 1 125 125">a</points>', (50, 25)),
        ({"model_type": "idefics3"}, "<text><loc_62><loc_62><loc_250><loc_250>a", (49.6, 24.8)),
    ],
)
def test_each_family_maps_its_places_to_the_picture_as_given(config, answer, expected):
    asked = question(WIDE, config=config, grid=(1, 8, 16))
    (found,) = find_family(config).locate(answer, asked)
    assert found.points[0] == pytest.approx(expected, abs=0.01)
