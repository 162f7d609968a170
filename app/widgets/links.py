"""Which addresses in a model's answer may be opened, and how an address is shown.

Opens nothing itself.
"""

from PySide6.QtCore import QUrl

_WEB = ("http", "https")
_MAIL = "mailto"
_LONGEST = 60


def safe_link(address: str) -> QUrl | None:
    """The address, if a browser or a mail program would open it and nothing else; never a file or a script."""
    url = QUrl(address.strip(), QUrl.ParsingMode.StrictMode)
    if not url.isValid():
        return None
    if url.scheme() in _WEB and url.host():
        return url
    return url if url.scheme() == _MAIL and url.path() else None


def shown_address(address: str) -> str:
    """The address cut to a readable length; of a web address the true host is always part of it."""
    url = safe_link(address)
    if url is None:
        return _shorten(address)
    shown = bytes(url.toEncoded().data()).decode("ascii")
    if len(shown) <= _LONGEST or url.scheme() == _MAIL:
        return _shorten(shown)
    host = bytes(QUrl.toAce(url.host()).data()).decode("ascii") or url.host()
    return f"{url.scheme()}://{host}/…"


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
