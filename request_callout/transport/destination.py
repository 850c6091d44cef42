"""Where a request may lead: the rules, and the checks before anything is sent.

The host of a URL is checked as soon as the URL is known, every address that it stands for after the one look-up whose
addresses are then connected to. So a name that resolves to something else a moment later, or by way of another name,
gains nothing. If one address of several is refused, all are: a name with such company is not to be trusted.

With a forward proxy it is the proxy that looks names up: then hosts are checked, and addresses where one stands in the
URL. What a name leads to is for the proxy's own rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from request_callout.config import destinations
from request_callout.config.destinations import Network
from request_callout.transport.message import DestinationRules, TransportError
from request_callout.transport.special import all_forms, parse_address, special_address, special_name

_REDIRECTED = DestinationRules(deny_special=True)


class Rules:
    """``DestinationRules`` made ready. Raises ``ValueError`` for a pattern or network that is none."""

    def __init__(self, rules: DestinationRules) -> None:
        patterns = [destinations.host_pattern(text) for text in rules.allow_hosts]
        self._hosts = frozenset(one for one in patterns if not one.startswith("*"))
        self._below = tuple(one[1:] for one in patterns if one.startswith("*."))
        self._any_host = not patterns or "*" in patterns
        self._networks = tuple(destinations.network(text) for text in rules.deny_networks)
        self._deny_special = rules.deny_special
        self.checks_addresses = rules.deny_special or bool(self._networks)

    def check_host(self, host: str) -> None:
        """Raise ``TransportError`` (``destination``) if the host of a URL is not allowed."""
        try:
            plain = destinations.plain_host(host)
        except ValueError as error:
            raise _refused(host, f"it is {error}") from None
        if not self._any_host and plain not in self._hosts and not self._is_below(plain):
            raise _refused(host, "no pattern of allow_hosts allows it")
        if self._denies_special(plain):
            what = special_name(plain)
            if what is not None:
                raise _refused(host, f"it is {what}")
        if ":" in plain or plain.replace(".", "").isdigit():
            self.check_addresses(host, (plain,))

    def check_addresses(self, host: str, addresses: Iterable[str]) -> None:
        """Raise ``TransportError`` (``destination``) if one of the addresses of a host is denied."""
        if not self.checks_addresses:
            return
        denies_special = self._denies_special(destinations.plain_host(host))
        for text in addresses:
            address = parse_address(text)
            denied = self._denying(text)
            if denied is not None:
                raise _refused(host, f"{text} is in {denied} of deny_networks")
            what = special_address(address) if denies_special else None
            if what is not None:
                raise _refused(host, f"{text} is {what}")

    def _is_below(self, plain: str) -> bool:
        return any(plain.endswith(suffix) and plain != suffix for suffix in self._below)

    def _denying(self, text: str) -> Network | None:
        forms = all_forms(parse_address(text))
        return next((network for network in self._networks if any(form in network for form in forms)), None)

    def _denies_special(self, plain: str) -> bool:
        # A host that the rules name in full was chosen by whoever wrote them, as one that stands in the URL.
        return self._deny_special and plain not in self._hosts


@lru_cache(256)
def rules_of(rules: DestinationRules) -> Rules:
    """The rules made ready, once; raises ``TransportError`` (``destination``) if they can't be."""
    try:
        return Rules(rules)
    except ValueError as error:
        raise TransportError("destination", f"the rules for destinations can't be used: {error}") from error


@lru_cache(256)
def after_redirect(rules: DestinationRules | None) -> DestinationRules:
    """The rules for a host that a response named: it may not be a special one, whatever held for the first."""
    return _REDIRECTED if rules is None else replace(rules, deny_special=True)


def _refused(host: str, why: str) -> TransportError:
    return TransportError("destination", f"the destination {host} is refused: {why}")
