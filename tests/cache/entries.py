"""Entries as plain data, for the tests of what lies on the disk."""

import numpy as np

from engine.cache.entry_file import Entry, Head, Stored

FINGERPRINT = "f" * 32


def numbers(*values):
    return np.array(values, np.int64)


def entry(*tokens, scope="s", fingerprint=FINGERPRINT, trimmable=True, size=64, fill=1):
    head = Head(fingerprint, scope, numbers(*tokens), trimmable, '[[{"array": 0}, 3]]')
    return Entry(head, [Stored("U8", np.full((size,), fill, np.uint8))])
