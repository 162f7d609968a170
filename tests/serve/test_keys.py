"""Keys: made once, kept in the keychain, never shown; and what happens where there is no keychain."""

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringError, PasswordSetError

from engine.serve.keys import KeyRing, new_key, renewed_key, stored_key
from engine.serve.settings import ServeSettings


class Keychain(KeyringBackend):
    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}

    def get_password(self, service, username):
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self.kept[service, username] = password


class Closed(Keychain):
    def set_password(self, service, username, password):
        raise PasswordSetError("The owner said no.")


@pytest.fixture
def keychain():
    before = keyring.get_keyring()

    def use(backend):
        keyring.set_keyring(backend)
        return backend

    yield use
    keyring.set_keyring(before)


def test_it_is_made_once_and_found_again(keychain):
    kept = keychain(Keychain()).kept
    first, again = stored_key(), stored_key()
    assert (first.is_new, first.is_kept) == (True, True)
    assert (again.is_new, again.is_kept) == (False, True)
    assert first.key == again.key
    assert list(kept.values()) == [first.key]
    assert ServeSettings(keys=(first.key,)).keys == (first.key,)


def test_a_new_one_takes_its_place(keychain):
    keychain(Keychain())
    first = stored_key()
    renewed = renewed_key()
    assert renewed.key != first.key
    assert stored_key().key == renewed.key


@pytest.mark.parametrize("backend", [NoKeyring, Closed])
def test_without_a_keychain_it_is_for_this_run(keychain, backend):
    keychain(backend())
    first, again = stored_key(), stored_key()
    assert (first.is_new, first.is_kept) == (True, False)
    assert first.key != again.key
    with pytest.raises(KeyringError):
        renewed_key()


def test_nobody_guesses_or_reads_it():
    assert len({new_key() for _ in range(50)}) == 50
    assert len(new_key()) > 40
    key = new_key()
    settings = ServeSettings(keys=(key,))
    assert key not in repr(settings)
    assert key not in KeyRing((key,)).tenant_of([key])


def test_what_is_offered_may_be_anything():
    ring = KeyRing(("a-key-of-some-length",))
    for offered in ([], [""], ["\ud800"], ["ä" * 1000], ["\x00"]):
        assert ring.tenant_of(offered) is None
    assert KeyRing((), required=False).tenant_of(["anything"]) == ""
