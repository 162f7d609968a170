"""Which addresses on a network are the world's, and which are this machine's, its network's or nobody's.

Knows nothing of names: those are looked up once, elsewhere, and what was found is judged here.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# What the standard library counts as global, or does in some of its versions: other networks are within, or nobody.
_NOT_GLOBAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",  # behind a carrier's NAT
            "192.0.0.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "198.18.0.0/15",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",  # Teredo and other tunnels
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
            "5f00::/16",
        ),
    )
)
_WORLD_6 = IPv6Network("2000::/3")
"""The only addresses of IPv6 that are given out. Those with one of IPv4 in them (mapped, NAT64) are outside."""


def is_public(text: str) -> bool:
    """Whether a numeric address is the world's."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if any(address in network for network in _NOT_GLOBAL if network.version == address.version):
        return False
    if isinstance(address, IPv6Address) and (address not in _WORLD_6 or address.scope_id):
        return False
    return address.is_global and not _is_near(address)


def _is_near(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is one of this machine's own, or of IPv6 next to one: there, every machine has one of the world's."""
    kind = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: the system only says from where it would be.
            probe.connect((str(address), 9))
            own = ip_address(probe.getsockname()[0])
    except OSError:
        return False
    if isinstance(own, IPv6Address):
        return address in IPv6Network((int(own), 64), strict=False)
    return address == own
