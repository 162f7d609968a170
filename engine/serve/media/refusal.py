"""Why a picture, clip or recording is not let in, in words that hold nothing of what was named.

Knows nothing of who refuses. A path or an address is never told back: it may not be the client's own.
"""

from engine.api.errors import MediaError
from engine.serve.media.kinds import Wanted


def too_large(wanted: Wanted, max_bytes: int | None = None) -> MediaError:
    most = wanted.max_bytes if max_bytes is None else max_bytes
    return MediaError(
        f"The {wanted.what} has more than the {most:,} bytes that are let in.",
        "Send a smaller one.",
        code="media_too_large",
    )


def empty(wanted: Wanted) -> MediaError:
    return MediaError(f"The {wanted.what} is empty (0 bytes).", "Perhaps it was not copied to the end.")


def unfit(wanted: Wanted) -> MediaError:
    kinds = " or ".join(f"{kind}*" if kind.endswith("/") else kind for kind in wanted.types)
    return MediaError(f"The {wanted.what} is said to be something else.", f"Its media type has to be {kinds}.")
