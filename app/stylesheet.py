"""The one style sheet: what each kind of widget looks like in a theme.

Knows no colour of its own; widgets choose their look by class, or by the dynamic property `role`:

    QPushButton      role = primary | quiet | float
    QToolButton      always quiet; role = round (send, stop) | fold | choice
    QLabel           role = title | heading | muted | caption | error | code | warning
    QTabBar          role = segments
    QPlainTextEdit   role = code
    QFrame, QWidget  role = card | composer | chip | banner (tone = error | info) | drop (lit = true | false) | bubble
"""

from string import Template
from typing import TYPE_CHECKING

from app.icons import icon_path

if TYPE_CHECKING:
    from app.theme import Theme

_TEMPLATE = Template("""
QWidget { color: $text; }
QMainWindow, QDialog { background: $background; }
QToolTip { color: $text; background: $raised; border: 1px solid $border; padding: 4px 6px; }

QLabel { background: transparent; }
QLabel[role="title"] { font-size: ${title}pt; font-weight: 600; }
QLabel[role="heading"] { font-size: ${heading}pt; font-weight: 600; }
QLabel[role="muted"] { color: $muted; }
QLabel[role="caption"] { color: $muted; font-size: ${caption}pt; }
QLabel[role="caption"][tone="error"] { color: $error; }
QLabel[role="error"] { color: $error; }
QLabel[role="code"] {
    background: $background; border: 1px solid $border; border-radius: ${small}px;
}
QLabel[role="warning"] {
    background: $error_surface; color: $text; border-radius: ${small}px; padding: 8px 12px;
}

QPushButton {
    background: $raised; color: $text; border: 1px solid $border; border-radius: ${small}px;
    padding: 5px 14px; min-height: 20px;
}
QPushButton:hover { background: $surface; }
QPushButton:pressed { background: $pressed; }
QPushButton:focus { border: 2px solid $accent; padding: 4px 13px; }
QPushButton:disabled { color: $muted; background: $surface; }
QPushButton[role="primary"] { background: $accent; color: $accent_text; border-color: $accent; font-weight: 600; }
QPushButton[role="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[role="primary"]:focus { border: 2px solid $text; }
QPushButton[role="primary"]:disabled { background: $pressed; color: $muted; border-color: $pressed; }
QPushButton[role="quiet"] { background: transparent; border: 1px solid transparent; }
QPushButton[role="quiet"]:hover { background: $pressed; }
QPushButton[role="quiet"]:focus { border: 2px solid $accent; }

QToolButton {
    background: transparent; border: 2px solid transparent; border-radius: ${small}px; padding: 3px;
}
QToolButton:hover { background: $pressed; }
QToolButton:pressed, QToolButton:checked { background: $pressed; }
QToolButton:focus { border-color: $accent; }
QToolButton::menu-indicator { image: none; }
QToolButton[role="round"] { background: $accent; color: $accent_text; border-radius: 15px; padding: 3px;
    min-width: 20px; max-width: 20px; min-height: 20px; max-height: 20px; }
QToolButton[role="round"]:hover { background: $accent_hover; }
QToolButton[role="round"]:focus { border-color: $text; }
QToolButton[role="round"]:disabled { background: $pressed; }

QLineEdit, QTextEdit, QPlainTextEdit, QSpinBox, QDoubleSpinBox {
    background: $background; border: 1px solid $border; border-radius: ${small}px; padding: 5px 8px;
    selection-background-color: $selection; selection-color: $text;
}
QLineEdit:focus, QTextEdit:focus, QPlainTextEdit:focus { border: 2px solid $accent; padding: 4px 7px; }

QComboBox {
    background: $raised; border: 1px solid $border; border-radius: ${small}px; padding: 4px 10px; min-height: 20px;
}
QComboBox:hover { background: $surface; }
QComboBox:focus { border: 2px solid $accent; padding: 3px 9px; }
QComboBox:disabled { color: $muted; }
QComboBox::drop-down { border: none; width: 22px; }
QComboBox::down-arrow { image: url("$chevron"); width: 12px; height: 12px; }
QComboBox QAbstractItemView {
    background: $raised; border: 1px solid $border; outline: none; padding: 4px;
    selection-background-color: $accent_surface; selection-color: $text;
}

QPlainTextEdit[role="code"], QPlainTextEdit[role="code"]:focus { padding: 0; }
QPlainTextEdit[role="code"]:focus { border: 2px solid $accent; }

QTabBar[role="segments"] { background: transparent; }
QTabBar[role="segments"]::tab {
    background: transparent; color: $muted; border: 2px solid transparent; border-radius: ${small}px;
    padding: 3px 10px; margin-right: 2px;
}
QTabBar[role="segments"]::tab:hover { background: $pressed; color: $text; }
QTabBar[role="segments"]::tab:selected { background: $accent_surface; color: $text; font-weight: 600; }
QTabBar[role="segments"]:focus::tab:selected { border-color: $accent; }

QTableView {
    background: $background; border: 1px solid $border; border-radius: ${small}px; outline: none;
    selection-background-color: $accent_surface; selection-color: $text;
}
QTableView:focus { border: 2px solid $accent; }
QTableView::item { padding: 0 8px; border: none; }
QTableView QHeaderView { background: transparent; border: none; }
QHeaderView::section {
    background: transparent; color: $muted; border: none; border-bottom: 1px solid $border; padding: 5px 8px;
    font-size: ${caption}pt;
}

QMenu { background: $raised; border: 1px solid $border; border-radius: ${small}px; padding: 4px; }
QMenu::item { padding: 5px 22px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: $accent; color: $accent_text; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $border; margin: 4px 8px; }

QScrollArea { border: none; background: transparent; }
QScrollArea > QWidget > QWidget[role="page"] { background: transparent; }
QScrollBar { background: transparent; border: none; margin: 0; }
QScrollBar:vertical { width: 10px; }
QScrollBar:horizontal { height: 10px; }
QScrollBar::handle { background: $scroll; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 32px; }
QScrollBar::handle:horizontal { min-width: 32px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QProgressBar { background: $pressed; border: none; border-radius: 2px; max-height: 4px; }
QProgressBar::chunk { background: $accent; border-radius: 2px; }

QFrame[role="card"] { background: $surface; border: 1px solid $border; border-radius: ${medium}px; }
QFrame[role="composer"] { background: $surface; border: 1px solid $border; border-radius: ${large}px; }
QFrame[role="composer"][focused="true"] { border: 2px solid $accent; }
QFrame[role="composer"] QTextEdit, QFrame[role="composer"] QPlainTextEdit {
    background: transparent; border: none; padding: 2px; font-size: ${reading}pt;
}
QFrame[role="chip"] { background: $raised; border: 1px solid $border; border-radius: ${small}px; }
QFrame[role="chip"]:focus { border: 2px solid $accent; }
QFrame[role="banner"] { background: $accent_surface; border: none; border-radius: ${small}px; }
QFrame[role="banner"][tone="error"] { background: $error_surface; }
QFrame[role="banner"][tone="error"] QLabel[role="heading"] { color: $error; }
QFrame[role="banner"] QLabel[role="heading"] { font-size: ${body}pt; }
QFrame[role="banner"] QLabel[role="muted"] { color: $text; }
QFrame[role="drop"] { background: $background; border: 2px dashed $border; border-radius: ${large}px; }
QFrame[role="drop"][lit="true"] { background: $accent_surface; border-color: $accent; }
QFrame[role="drop"][lit="false"] { background: $error_surface; border-color: $error; }
QFrame[role="bubble"] { background: $bubble; border: none; border-radius: ${large}px; }
QPushButton[role="float"] { border-radius: 15px; padding: 4px 16px; }
QPushButton[role="float"]:focus { padding: 3px 15px; }
QToolButton[role="fold"] { color: $muted; padding: 2px 8px 2px 2px; }
QToolButton[role="choice"] { font-size: ${caption}pt; padding: 0 3px; }
QToolButton[role="fold"]:checked { background: transparent; }
QTextBrowser[role="text"][tone="muted"] { color: $muted; }
QTextBrowser[role="text"][tone="note"] { color: $muted; font-size: ${caption}pt; }
QTextBrowser[role="text"][tone="error"] { color: $error; }
QTextBrowser[role="text"] { background: transparent; border: none; padding: 0; }
QTextBrowser[role="text"]:focus { border: none; padding: 0; }
""")


def render_stylesheet(theme: "Theme") -> str:
    return _TEMPLATE.substitute(
        background=theme.background,
        surface=theme.surface,
        raised=theme.raised,
        pressed=theme.pressed,
        text=theme.text,
        muted=theme.muted,
        border=theme.border,
        accent=theme.accent,
        accent_hover=theme.accent_hover,
        accent_text=theme.accent_text,
        accent_surface=theme.accent_surface,
        error=theme.error,
        error_surface=theme.error_surface,
        bubble=theme.bubble,
        selection=theme.selection,
        scroll=theme.scroll,
        chevron=icon_path("chevron-down").as_posix(),
        caption=theme.sizes.caption,
        body=theme.sizes.body,
        reading=theme.sizes.reading,
        heading=theme.sizes.heading,
        title=theme.sizes.title,
        small=theme.radii.small,
        medium=theme.radii.medium,
        large=theme.radii.large,
    )
