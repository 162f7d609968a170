"""The bytes that a request carries itself, as a `data:` URI (RFC 2397), held to the letter.

Knows nothing of what is in them. Only base64 is taken: what else the form allows nobody needs for media.
"""

import base64
import binascii
import re

from engine.api.errors import MediaError
from engine.serve.media.kinds import Wanted
from engine.serve.media.refusal import empty, too_large, unfit

_LONGEST_HEADER = 256
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]{1,64}"
_HEADER = re.compile(rf"data:({_TOKEN}/{_TOKEN})((?:;{_TOKEN}={_TOKEN})*);base64", re.IGNORECASE)


def decode(uri: str, wanted: Wanted, room: int) -> bytes:
    """At most `room` bytes. Raises `MediaError`; for what is too large before any of it is decoded."""
    comma = uri.find(",", 0, _LONGEST_HEADER)
    header = _HEADER.fullmatch(uri, 0, comma) if comma > 0 else None
    # A text in some charset is no picture, whatever it says before that.
    if header is None or ";charset=" in header[2].lower():
        raise MediaError(
            f"The {wanted.what} is not a data: URI in base64.",
            "Begin with data: and its media type, then ;base64, a comma and the content.",
        )
    if not wanted.fits(header[1]):
        raise unfit(wanted)
    if (len(uri) - comma - 1) * 3 // 4 - uri.count("=", -2) > min(wanted.max_bytes, room):
        raise too_large(wanted, min(wanted.max_bytes, room))
    try:
        data = base64.b64decode(uri[comma + 1 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError(
            f"The {wanted.what} is not correct base64.", "It has no spaces and no line breaks, and ends with its =."
        ) from error
    if not data:
        raise empty(wanted)
    return data
