"""Names and addresses of this machine, as a client may write them.

Knows nothing of who is let in.
"""

import ipaddress
import socket

import psutil


def bare(name: str) -> str:
    """As names are compared."""
    return name.strip("[]").lower()


def is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(bare(host)).is_unspecified
    except ValueError:
        return False


def addresses_of_this_machine() -> set[str]:
    """Asked anew each time: a notebook changes networks. A rebound name is never an address."""
    families = (socket.AF_INET, socket.AF_INET6)
    return {
        address.address.partition("%")[0].lower()
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in families
    }
