"""Keys of the local API: made at random, kept in the system's keychain, compared in constant time.

Knows nothing of HTTP. A key is in no log and in no message.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import keyring
from keyring.errors import KeyringError

SERVICE = "Fovea local API"
USER = "key"
_PREFIX = "fovea-"
_RANDOM_BYTES = 32
_SALT = b"fovea tenant\0"


class KeyRing:
    """The keys that open the server."""

    def __init__(self, keys: Sequence[str], *, required: bool = True) -> None:
        self._keys = tuple(key.encode() for key in keys)
        self._required = required

    def tenant_of(self, offered: Sequence[str]) -> str | None:
        """Whose prompts and answers are whose: a salt for each key, from which it cannot be found. `None`: nobody is
        let in with these. All keys are compared in full, so that time tells nothing of them."""
        found = None
        for given in offered:
            for key in self._keys:
                if hmac.compare_digest(given.encode(errors="replace"), key):
                    found = key
        if found is not None:
            return hashlib.sha256(_SALT + found).hexdigest()
        return None if self._required else ""


@dataclass(frozen=True, slots=True)
class StoredKey:
    key: str = field(repr=False)
    is_kept: bool
    """Whether it is in the keychain; else it is for this run alone."""
    is_new: bool


def new_key() -> str:
    return _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def stored_key() -> StoredKey:
    """The one in the keychain, made and put there if there is none yet."""
    try:
        if kept := keyring.get_password(SERVICE, USER):
            return StoredKey(kept, is_kept=True, is_new=False)
        return renewed_key()
    except KeyringError:
        # No keychain (a server without a desktop), or its owner said no.
        return StoredKey(new_key(), is_kept=False, is_new=True)


def renewed_key() -> StoredKey:
    """A new one in place of the one in the keychain. Raises `KeyringError` where that does not work."""
    made = new_key()
    keyring.set_password(SERVICE, USER, made)
    return StoredKey(made, is_kept=True, is_new=True)
