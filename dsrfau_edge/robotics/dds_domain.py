"""One DDS domain a process, on the network that was chosen."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from dsrfau_edge.errors import RuntimeUnavailable, UsageError

#: Ports of a domain are 7400 + 250 times its number, which above this leaves none.
LAST_DOMAIN = 232
LOCALHOST = "localhost"
_INTERFACE = re.compile(r"[A-Za-z0-9_.:%@-]{1,64}")
#: How many processes of one machine find each other without multicast.
_LOCAL_PROCESSES = 32


def default_domain(environment: Mapping[str, str] = os.environ) -> int:
    """The domain as ROS 2 chooses it: `ROS_DOMAIN_ID`, or 0.

    Raises:
        UsageError: that is no domain.
    """
    text = environment.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not text.isascii() or not text.isdigit() or int(text) > LAST_DOMAIN:
        raise UsageError(f"ROS_DOMAIN_ID is {text!r}; set it to 0 to {LAST_DOMAIN}, or give --domain.")
    return int(text)


def default_interface(environment: Mapping[str, str] = os.environ) -> str | None:
    """`localhost` where ROS 2 is told to stay on this machine.

    That is by `ROS_LOCALHOST_ONLY=1` (Humble), or by `ROS_AUTOMATIC_DISCOVERY_RANGE` (since Iron).
    """
    only = environment.get("ROS_LOCALHOST_ONLY", "").strip() == "1"
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").strip().upper()
    return LOCALHOST if only or reach in ("LOCALHOST", "OFF") else None


def check_domain(domain: int) -> int:
    """The domain, if it is one.

    Raises:
        UsageError: it is none.
    """
    if not 0 <= domain <= LAST_DOMAIN:
        raise UsageError(f"There is no DDS domain {domain}. Give --domain 0 to {LAST_DOMAIN}.")
    return domain


def configuration(domain: int, interface: str | None) -> str | None:
    """Cyclone DDS's settings for an interface: its name or address, or `localhost`; None leaves them as they are.

    Raises:
        UsageError: that is no name of an interface.
    """
    if interface is None:
        return None
    if not _INTERFACE.fullmatch(interface):
        raise UsageError(f"{interface!r} is no network interface. Give its name (eth0), its address, or localhost.")
    local = interface == LOCALHOST
    chosen = "127.0.0.1" if local else interface
    general = f"<Interfaces><NetworkInterface {_kind(chosen)}={quoteattr(chosen)}/></Interfaces>"
    discovery = ""
    if local:  # the loopback interface takes no multicast: processes ask each other's ports in turn
        general += "<AllowMulticast>false</AllowMulticast>"
        discovery = (
            "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
            f"<MaxAutoParticipantIndex>{_LOCAL_PROCESSES}</MaxAutoParticipantIndex>"
            '<Peers><Peer address="127.0.0.1"/></Peers></Discovery>'
        )
    return f'<CycloneDDS><Domain Id="{domain}"><General>{general}</General>{discovery}</Domain></CycloneDDS>'


def _kind(interface: str) -> str:
    try:
        ipaddress.ip_address(interface)
    except ValueError:
        return "name"
    return "address"


class _Domains:
    """Domains that this process has set up. They stay: Cyclone DDS allows each to be configured once."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[str | None, object]] = {}

    def prepare(self, domain: int, interface: str | None) -> None:
        """Set a domain up, unless it is.

        Raises:
            UsageError: this process uses it on another interface, or the interface cannot be used.
            RuntimeUnavailable: cyclonedds is not installed.
        """
        check_domain(domain)
        wanted = configuration(domain, interface)
        if domain in self._made:
            if self._made[domain][0] != wanted:
                raise UsageError(
                    f"This process is in DDS domain {domain} already, on another interface. Give the same one, or "
                    "another --domain."
                )
            return
        try:
            from cyclonedds.core import DDSException
            from cyclonedds.domain import Domain
        except ImportError as error:
            raise RuntimeUnavailable(
                "DDS needs cyclonedds, which is not installed. Install it: pip install 'dsrfau-edge[dds]'."
            ) from error
        try:
            made = None if wanted is None else Domain(domain, wanted)
        except DDSException as error:
            raise UsageError(
                f"DDS cannot use the interface {interface} ({error.msg}). Give --dds-interface one that `ip address` "
                "lists, or localhost."
            ) from error
        self._made[domain] = (wanted, made)


DOMAINS = _Domains()
