"""The look of the app as data: colours for light and dark, spacing, radii and type sizes, and how they are applied.

Knows no widget. What each kind of widget makes of these values is in `app/stylesheet.py`.
"""

from dataclasses import dataclass, field

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QFontInfo, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from app.stylesheet import render_stylesheet


@dataclass(frozen=True, slots=True)
class Spacing:
    """Pixels; every margin and gap is one of these."""

    tiny: int = 4
    small: int = 8
    medium: int = 12
    large: int = 16
    huge: int = 24
    vast: int = 40


@dataclass(frozen=True, slots=True)
class Radii:
    """Pixels."""

    small: int = 6
    medium: int = 10
    large: int = 16


@dataclass(frozen=True, slots=True)
class TypeSizes:
    """Points, all derived from the size of the system font."""

    caption: float
    body: float
    reading: float
    heading: float
    title: float

    @classmethod
    def from_body(cls, points: float) -> "TypeSizes":
        return cls(
            caption=round(points * 0.88, 1),
            body=points,
            reading=round(points * 1.1, 1),
            heading=round(points * 1.25, 1),
            title=round(points * 1.8, 1),
        )

    @classmethod
    def from_system(cls) -> "TypeSizes":
        font = QGuiApplication.font()
        return cls.from_body(font.pointSizeF() if font.pointSizeF() > 0 else QFontInfo(font).pointSizeF())


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of colours (`#rrggbb`) and the measures that go with it.

    Text colours reach 4.5:1 on every background they are used on, focus rings and icons 3:1 (WCAG 2.2 AA).
    """

    is_dark: bool
    background: str
    surface: str
    """Panels, the composer, hovered rows."""
    raised: str
    """Buttons and menus, which lie above a surface."""
    pressed: str
    text: str
    muted: str
    """Captions, statistics, thinking, placeholders."""
    border: str
    accent: str
    """Links, the primary button, focus rings."""
    accent_hover: str
    accent_text: str
    """What is written on the accent."""
    accent_surface: str
    """A faint accent: the lit drop area, a selected row."""
    error: str
    error_surface: str
    bubble: str
    """Behind what the user wrote."""
    code_background: str
    selection: str
    scroll: str
    """The handle of a scroll bar."""
    pygments_style: str
    sizes: TypeSizes = field(default_factory=TypeSizes.from_system)
    spacing: Spacing = Spacing()
    radii: Radii = Radii()

    @classmethod
    def light(cls) -> "Theme":
        return cls(
            is_dark=False,
            background="#ffffff",
            surface="#f6f6f8",
            raised="#ffffff",
            pressed="#e6e6eb",
            text="#1d1d1f",
            muted="#65656b",
            border="#d8d8de",
            accent="#2b5fc7",
            accent_hover="#2351ad",
            accent_text="#ffffff",
            accent_surface="#eaf0fc",
            error="#b3261e",
            error_surface="#fdeeec",
            bubble="#e9eefa",
            code_background="#f5f6f8",
            selection="#bcd2f8",
            scroll="#c4c4cb",
            pygments_style="friendly",
        )

    @classmethod
    def dark(cls) -> "Theme":
        return cls(
            is_dark=True,
            background="#1c1c1e",
            surface="#262629",
            raised="#323236",
            pressed="#414146",
            text="#f2f2f4",
            muted="#a6a6ad",
            border="#404045",
            accent="#7fb0ff",
            accent_hover="#99c1ff",
            accent_text="#0c1a30",
            accent_surface="#24324a",
            error="#ff9a90",
            error_surface="#41211f",
            bubble="#2a3850",
            code_background="#262629",
            selection="#34558b",
            scroll="#55555b",
            pygments_style="github-dark",
        )

    @classmethod
    def for_scheme(cls, scheme: Qt.ColorScheme) -> "Theme":
        return cls.dark() if scheme == Qt.ColorScheme.Dark else cls.light()

    @classmethod
    def current(cls, app: QGuiApplication) -> "Theme":
        """The theme applied to `app`; before any was, the one that suits the system's palette."""
        palette = app.palette()
        is_dark = palette.window().color().lightness() < palette.windowText().color().lightness()
        return cls.dark() if is_dark else cls.light()

    def stylesheet(self) -> str:
        return render_stylesheet(self)

    def apply(self, app: QApplication) -> None:
        """Dress the whole app. Fusion lies beneath the style sheet, so that it looks the same on every system."""
        if not app.styleSheet():
            app.setStyle("fusion")
        app.setPalette(self.palette())
        app.setStyleSheet(self.stylesheet())

    def palette(self) -> QPalette:
        role = QPalette.ColorRole
        palette = QPalette()
        for roles, colour in (
            ((role.Window, role.Base), self.background),
            ((role.AlternateBase, role.ToolTipBase), self.surface),
            ((role.Button,), self.raised),
            ((role.WindowText, role.Text, role.ButtonText, role.ToolTipText, role.HighlightedText), self.text),
            ((role.PlaceholderText,), self.muted),
            ((role.Link, role.LinkVisited, role.Accent), self.accent),
            ((role.Highlight,), self.selection),
            ((role.Mid,), self.border),
        ):
            for each in roles:
                palette.setColor(each, QColor(colour))
        for each in (role.WindowText, role.Text, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, each, QColor(self.muted))
        return palette


def follow_system(app: QApplication) -> None:
    """Apply the system's light or dark theme now and whenever it changes.

    Widgets that paint for themselves ask `Theme.current` again on `QEvent.Type.PaletteChange`.
    """
    hints = app.styleHints()
    hints.colorSchemeChanged.connect(lambda scheme: Theme.for_scheme(scheme).apply(app))
    if hints.colorScheme() == Qt.ColorScheme.Unknown:
        Theme.current(app).apply(app)
    else:
        Theme.for_scheme(hints.colorScheme()).apply(app)
