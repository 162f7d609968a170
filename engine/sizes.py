"""Numbers of bytes as people write and read them.

Knows nothing of what they measure. Decimal units, as disks and download pages have them; `GiB` and its kin are binary.
"""

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?\s*", re.IGNORECASE)


def format_size(count: int) -> str:
    """Such as "34 MB" or "1.2 GB"."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            value = count / unit
            return f"{value:.1f} {name}" if value < 10 else f"{value:.0f} {name}"
    return f"{count} bytes"


def parse_size(text: str) -> int:
    """From "8GB", "8 GiB", "500m" or a bare number of bytes. Raises `ValueError` for anything else."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    units = _UNITS | _BINARY_UNITS
    return int(float(match[1]) * units[(match[2] or "").lower()])
