"""How destinations are written: host names, patterns of them, and networks.

The one place for this syntax, for the configuration, the command line and the HTTP client alike.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Network: TypeAlias = "IPv4Network | IPv6Network"

_HOST = re.compile(r"(?=.{1,254}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAPPED = IPv6Network("::ffff:0:0/96")


def ascii_host(name: str) -> str:
    """A host name in lower case and Punycode; raises ``ValueError`` that says what it is not."""
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode()
        except UnicodeError as error:
            raise ValueError("not a valid international name") from error
    name = name.lower()
    if not _HOST.fullmatch(name):
        raise ValueError("not valid")
    return name


def plain_host(name: str) -> str:
    """What two spellings of one host have in common; IPv6 addresses without brackets.

    Lower case, Punycode, no dot at the end, and the forms of an IPv4 address that resolvers understand (``2130706433``,
    ``0x7f.1``, ``0177.0.0.1``) as four decimal numbers. Raises ``ValueError`` for what is no host, and for what looks
    like an IPv4 address and is none, since not all readers would make the same of it.
    """
    if ":" in name:
        return str(IPv6Address(name[1:-1] if name.startswith("[") and name.endswith("]") else name))
    host = ascii_host(name).removesuffix(".")
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise ValueError("not a valid IPv4 address") from None


def host_pattern(text: str) -> str:
    """A pattern of hosts in its plain form: a host, ``*.example.com`` (any name below it) or ``*``.

    Raises ``ValueError`` with what is expected.
    """
    if text == "*":
        return text
    below = "*." if text.startswith("*.") else ""
    try:
        host = plain_host(text[len(below) :])
    except ValueError:
        host = ""
    if not host or (below and (":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]))):
        raise ValueError("expected a host name or address without port, or a pattern such as *.example.com")
    return below + host


def network(text: str) -> Network:
    """A network in CIDR notation, or one address; IPv4-mapped IPv6 ones become IPv4.

    Raises ``ValueError`` with what is expected.
    """
    try:
        found = ip_network(text)
    except ValueError:
        try:
            found = ip_network(text, strict=False)
        except ValueError:
            raise ValueError("expected a network such as 10.0.0.0/8 or fd00::/8") from None
        raise ValueError(f"expected a network without bits beyond its length, such as {found}") from None
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        return IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96))
    return found
