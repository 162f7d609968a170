"""Draws one line of the model picker: name, what it is good at, and what it costs.

Knows nothing of the state behind the line.
"""

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter
from PySide6.QtWidgets import QApplication, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from app.icons import load_icon
from app.models.model_list import ROW_ROLE
from app.state.model_rows import ModelRow, RowKind
from app.theme import Theme

_PADDING = 10
_CHECK = 22
_SCROLL_BAR = 12


class ModelDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        row: ModelRow = index.data(ROW_ROLE)
        title, caption = _fonts(option.font)
        height = QFontMetrics(title).height()
        if row.kind is RowKind.HEADING:
            return QSize(0, QFontMetrics(caption).height() + _PADDING)
        if row.subtitle:
            height += _wrapped(caption, row.subtitle, _text_width(option)).height() + 2
        return QSize(0, height + 2 * _PADDING - 4)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        row: ModelRow = index.data(ROW_ROLE)
        theme = Theme.current(QApplication.instance())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if row.kind is RowKind.HEADING:
            self._paint_heading(painter, option, row, theme)
        else:
            self._paint_model(painter, option, row, theme)
        painter.restore()

    def _paint_heading(self, painter: QPainter, option: QStyleOptionViewItem, row: ModelRow, theme: Theme) -> None:
        font = _fonts(option.font)[1]
        font.setWeight(QFont.Weight.DemiBold)
        painter.setFont(font)
        painter.setPen(QColor(theme.muted))
        painter.drawText(option.rect.adjusted(_PADDING, 0, -_PADDING, -2), Qt.AlignmentFlag.AlignBottom, row.title)

    def _paint_model(self, painter: QPainter, option: QStyleOptionViewItem, row: ModelRow, theme: Theme) -> None:
        title, caption = _fonts(option.font)
        flags = QStyle.StateFlag
        if row.enabled and option.state & (flags.State_Selected | flags.State_MouseOver):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.accent_surface))
            painter.drawRoundedRect(option.rect.adjusted(0, 1, 0, -1), 6, 6)
        area = option.rect.adjusted(_PADDING, _PADDING - 3, -_PADDING, 0)
        if row.current:
            load_icon("check", theme.accent, 16).paint(
                painter, QRect(area.left(), area.top(), 16, QFontMetrics(title).height())
            )
        area.setLeft(area.left() + _CHECK)
        area.setWidth(_text_width(option))
        line = QRect(area.left(), area.top(), area.width(), QFontMetrics(title).height())
        painter.setFont(title)
        painter.setPen(QColor(theme.text if row.enabled else theme.muted))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, row.title)
        painter.setFont(caption)
        is_link = row.enabled and row.kind is RowKind.OFFER
        painter.setPen(QColor(theme.accent if is_link else theme.muted))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, row.badge)
        painter.setPen(QColor(theme.muted))
        words = _wrapped(caption, row.subtitle, area.width())
        words.moveTopLeft(line.bottomLeft())
        painter.drawText(words.adjusted(0, 2, 0, 2), Qt.TextFlag.TextWordWrap, row.subtitle)


def _text_width(option: QStyleOptionViewItem) -> int:
    """The same with and without a scroll bar, so that the list's height can be told before it is shown."""
    return option.widget.width() - _SCROLL_BAR - 2 * _PADDING - _CHECK


def _fonts(base: QFont) -> tuple[QFont, QFont]:
    title, caption = QFont(base), QFont(base)
    title.setWeight(QFont.Weight.Medium)
    caption.setPointSizeF(base.pointSizeF() * 0.88)
    return title, caption


def _wrapped(font: QFont, text: str, width: int) -> QRect:
    return QFontMetrics(font).boundingRect(QRect(0, 0, width, 1000), Qt.TextFlag.TextWordWrap, text)
