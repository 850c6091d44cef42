"""Addresses and names that no host chosen by somebody else may lead to.

They are not places on a network but the machine's own surroundings: what answers there gives a cloud's credentials to
whoever asks. Private networks and loopback are not among them, since callouts mostly go to services there: those are
for ``deny_networks``.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from request_callout.config.destinations import Network

Address: TypeAlias = "IPv4Address | IPv6Address"

_SPECIAL_NETWORKS: tuple[tuple[str, str], ...] = (
    # Metadata services first: the reason in the log is then the one that matters.
    ("169.254.169.254/32", "a cloud metadata address"),
    ("169.254.170.2/32", "a cloud metadata address"),  # credentials of containers
    ("169.254.170.23/32", "a cloud metadata address"),
    ("100.100.100.200/32", "a cloud metadata address"),
    ("168.63.129.16/32", "a cloud metadata address"),
    ("192.0.0.192/32", "a cloud metadata address"),
    ("fd00:ec2::/32", "a cloud metadata address"),
    ("fd20:ce::254/128", "a cloud metadata address"),
    ("fd00:c1::a9fe:a9fe/128", "a cloud metadata address"),
    ("fd00:42::42/128", "a cloud metadata address"),
    ("0.0.0.0/8", "an unspecified address"),  # RFC 1122 section 3.2.1.3; systems take 0.0.0.0 for themselves
    ("::/128", "an unspecified address"),
    ("169.254.0.0/16", "a link-local address"),  # RFC 3927
    ("fe80::/10", "a link-local address"),  # RFC 4291 section 2.5.6
    ("224.0.0.0/4", "a multicast address"),
    ("ff00::/8", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),  # RFC 1112 section 4, with broadcast
)
_NETWORKS: tuple[tuple[Network, str], ...] = tuple((ip_network(text), what) for text, what in _SPECIAL_NETWORKS)

_METADATA_NAMES = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "metadata.tencentyun.com",
        "rancher-metadata",
    }
)

_EMBEDDING: tuple[tuple[Network, int], ...] = tuple(
    (ip_network(text), shift)
    for text, shift in (
        ("::/96", 0),  # IPv4-compatible, RFC 4291 section 2.5.5.1
        ("::ffff:0:0/96", 0),  # IPv4-mapped, RFC 4291 section 2.5.5.2
        ("::ffff:0:0:0/96", 0),  # IPv4-translated, RFC 2765 section 2.1
        ("64:ff9b::/96", 0),  # NAT64, RFC 6052
        ("64:ff9b:1::/48", 0),  # NAT64 of a network's own, RFC 8215, with the prefix of 96 bits
        ("2002::/16", 80),  # 6to4, RFC 3056
    )
)
_TEREDO: Network = ip_network("2001::/32")
_ISATAP = (0x00005EFE, 0x02005EFE)


def special_name(host: str) -> str | None:
    """What is special about a host name in its plain form; None: nothing."""
    return "a cloud metadata service" if host in _METADATA_NAMES else None


def special_address(address: Address) -> str | None:
    """What is special about an address, or about an IPv4 address within it; None: nothing."""
    forms = all_forms(address)
    for network, what in _NETWORKS:
        if any(form in network for form in forms):
            return what
    return None


def all_forms(address: Address) -> tuple[Address, ...]:
    """An address and the IPv4 addresses that a translator or tunnel would make of it."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    if number <= 1:  # unspecified and loopback are no IPv4-compatible addresses
        return (address,)
    forms: list[Address] = [address]
    for network, shift in _EMBEDDING:
        if address in network:
            forms.append(IPv4Address((number >> shift) & 0xFFFFFFFF))
    if address in _TEREDO:  # RFC 4380 section 4: the server, and the client with all bits inverted
        forms += (IPv4Address((number >> 64) & 0xFFFFFFFF), IPv4Address(~number & 0xFFFFFFFF))
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:  # RFC 5214 section 6.1
        forms.append(IPv4Address(number & 0xFFFFFFFF))
    return tuple(forms)


def parse_address(text: str) -> Address:
    """An address as the resolver gives it; a zone is left out."""
    return ip_address(text.partition("%")[0])
