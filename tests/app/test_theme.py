"""The themes: readable, complete, and switched with the system's."""

import dataclasses

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QPushButton

from app.contrast import SHAPE_RATIO, TEXT_RATIO, contrast_ratio, make_readable
from app.icons import icons_folder, load_app_icon, load_icon
from app.theme import Theme, TypeSizes, follow_system

THEMES = ("light", "dark")


@pytest.fixture
def theme(request, qapp) -> Theme:
    return getattr(Theme, request.param)()


@pytest.fixture
def restored_app(qapp):
    yield qapp
    qapp.styleHints().colorSchemeChanged.disconnect()
    qapp.setStyleSheet("")


def test_contrast_ratio_knows_the_extremes():
    assert contrast_ratio("#000000", "#ffffff") == pytest.approx(21)
    assert contrast_ratio("#336699", "#336699") == pytest.approx(1)
    assert contrast_ratio("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_make_readable_changes_only_what_cannot_be_read():
    assert make_readable("#1d1d1f", "#ffffff", "#000000") == "#1d1d1f"
    assert contrast_ratio(make_readable("#ffe680", "#ffffff", "#000000"), "#ffffff") >= TEXT_RATIO


@pytest.mark.parametrize("theme", THEMES, indirect=True)
@pytest.mark.parametrize(
    ("front", "backs"),
    [
        ("text", "background surface raised pressed bubble code_background error_surface accent_surface selection"),
        ("muted", "background surface raised code_background"),
        ("accent", "background surface bubble"),
        ("accent_text", "accent accent_hover"),
        ("error", "background error_surface raised"),
    ],
)
def test_text_can_be_read(theme, front, backs):
    for back in backs.split():
        ratio = contrast_ratio(getattr(theme, front), getattr(theme, back))
        assert ratio >= TEXT_RATIO, f"{front} on {back}: {ratio:.2f}"


@pytest.mark.parametrize("theme", THEMES, indirect=True)
def test_focus_rings_can_be_seen(theme):
    for back in (theme.background, theme.surface, theme.raised):
        assert contrast_ratio(theme.accent, back) >= SHAPE_RATIO


@pytest.mark.parametrize("theme", THEMES, indirect=True)
def test_stylesheet_parses_and_leaves_no_placeholder(theme, qtbot):
    sheet = theme.stylesheet()
    assert "$" not in sheet
    button = QPushButton("Go")
    qtbot.addWidget(button)
    button.setStyleSheet(sheet)
    button.ensurePolished()


def test_type_sizes_grow_from_caption_to_title():
    sizes = dataclasses.astuple(TypeSizes.from_body(13))
    assert list(sizes) == sorted(sizes)
    assert sizes[1] == 13


@pytest.mark.parametrize("theme", THEMES, indirect=True)
def test_applied_theme_is_the_current_one(theme, restored_app):
    restored_app.styleHints().colorSchemeChanged.connect(lambda _scheme: None)
    theme.apply(restored_app)
    assert Theme.current(restored_app) == theme
    assert restored_app.palette().window().color() == QColor(theme.background)


def test_follows_the_system_live(restored_app):
    follow_system(restored_app)
    restored_app.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Dark)
    assert Theme.current(restored_app).is_dark
    restored_app.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Light)
    assert not Theme.current(restored_app).is_dark


def test_every_icon_is_tinted(qapp):
    names = sorted(path.stem for path in icons_folder().glob("*.svg"))
    assert {"attach", "send", "stop", "copy", "close", "new-chat", "refresh", "fovea"} <= set(names)
    for name in names:
        image = load_icon(name, "#ff0000", 24).pixmap(24, 24).toImage()
        colours = {
            image.pixelColor(x, y).name() for x in range(24) for y in range(24) if image.pixelColor(x, y).alpha() > 250
        }
        assert colours, f"{name} is empty"
        if name not in ("fovea", "chevron-down"):
            assert colours == {"#ff0000"}, name


def test_app_icon_is_drawn(qapp):
    assert not load_app_icon().pixmap(64, 64).isNull()


def test_unknown_icon_is_an_error(qapp):
    with pytest.raises(FileNotFoundError):
        load_icon("no-such-icon", "#000000")
