"""What bytes that are nothing wanted seem to be, in words, told by how they begin.

Knows nothing of decoding.
"""

from engine.api.media_format import picture_format

_OTHERS = (
    (b"%PDF-", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"ID3", "an MP3 recording"),
    (b"fLaC", "a FLAC recording"),
    (b"OggS", "an Ogg recording"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\0\0\1\0", "an icon file"),
    (b"GGUF", "a GGUF model"),
    (b"SQLite format 3\0", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)

_RIFF = {b"WAVE": "a WAV recording", b"AVI ": "an AVI video"}


def describe(data: bytes) -> str:
    """What bytes that are nothing wanted seem to be, with its article: "a PDF document"."""
    for signature, name in _OTHERS:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12], "a RIFF file")
    if (picture := picture_format(data)) is not None:
        return f"a picture ({picture.value})"
    if data[4:8] == b"ftyp":
        return "an MP4 or QuickTime video"
    return _describe_text(data[:2048])


def _describe_text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if b"\0" in head:
        return "some other binary file"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return "some other binary file"
    return "a text file"
