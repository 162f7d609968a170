"""Positions of prompts with pictures, counted by hand from the paper's figure (arXiv 2409.12191)."""

import numpy as np

from engine.models.positions import grid_positions


def test_text_goes_on_behind_the_longer_side_of_a_picture():
    positions = grid_positions(9, np.arange(2, 8), [(1, 2, 3)])
    assert positions.axes.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]
    assert positions.shift == 6 - 9


def test_two_pictures_one_behind_the_other_and_one_at_the_end():
    positions = grid_positions(7, np.array([0, 1, 3, 4, 5, 6]), [(1, 2, 1), (1, 1, 4)])
    assert positions.axes[0].tolist() == [0, 0, 2, 3, 3, 3, 3]
    assert positions.axes[1].tolist() == [0, 1, 2, 3, 3, 3, 3]
    assert positions.axes[2].tolist() == [0, 0, 2, 3, 4, 5, 6]
    assert positions.shift == 0


def test_frames_stand_one_behind_the_other_in_time():
    positions = grid_positions(4, np.arange(4), [(2, 1, 2)])
    assert positions.axes.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]]
    assert positions.shift == 2 - 4
