"""Which addresses are the world's."""

import socket

import pytest

from engine.serve.media import addresses
from engine.serve.media.addresses import is_public

OURS_OR_NOBODYS = {
    "of this machine": ("127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", "0.1.2.3", "::"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "fec0::1"),
    "of a link": ("169.254.169.254", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0"),
    "behind a carrier": ("100.64.0.1", "100.127.255.255"),
    "for many": ("224.0.0.1", "239.1.1.1", "255.255.255.255", "ff02::1", "ff0e::1"),
    "reserved": ("192.0.0.170", "198.18.0.1", "240.0.0.1", "100::1", "5f00::1", "192.88.99.1", "4000::1"),
    "for books": ("192.0.2.1", "198.51.100.1", "203.0.113.5", "2001:db8::1", "3fff::1"),
    "of IPv4 within": ("::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    "tunnels": ("64:ff9b:1::1", "2001::1", "2001:10::1", "2002:7f00:1::1", "2002:808:808::1"),
    "no address": ("pictures.example", "127.1", "0x7f000001", "2130706433", ""),
}


@pytest.mark.parametrize(("kind", "each"), OURS_OR_NOBODYS.items(), ids=OURS_OR_NOBODYS)
def test_what_is_not_the_worlds(kind, each):
    assert [address for address in each if is_public(address)] == []


WORLDS = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:81b::200e")


@pytest.mark.parametrize("address", WORLDS)
def test_what_is(address):
    assert is_public(address)


class Probe:
    """A socket that would send from `own`."""

    own = ""

    def __init__(self, *kind):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def connect(self, address):
        if not self.own:
            raise OSError("no way there")

    def getsockname(self):
        return self.own, 1


@pytest.mark.parametrize(
    ("own", "address", "expected"),
    [
        ("8.8.8.8", "8.8.8.8", False),
        ("8.8.4.4", "8.8.8.8", True),
        ("2606:4700::5", "2606:4700::5", False),
        ("2606:4700::5", "2606:4700::99", False),
        ("2606:4700:0:1::5", "2606:4700::99", True),
        ("", "8.8.8.8", True),
    ],
)
def test_an_address_of_the_worlds_may_be_this_machines_own(monkeypatch, own, address, expected):
    monkeypatch.setattr(Probe, "own", own)
    monkeypatch.setattr(addresses.socket, "socket", Probe)
    assert addresses.is_public(address) is expected
    assert socket.socket is Probe
