"""What a request says about where it goes and where it comes from: host, scheme, and the page that made it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9_.-]+))(?::(?P<port>[0-9]{1,5}))?")


def host_and_port(text: str) -> tuple[str, int | None] | None:
    """Return a host as the Host header has it: its name in small letters and its port. None if it is malformed."""
    found = _HOST.fullmatch(text)
    if found is None or int(found["port"] or 0) > 65535:
        return None
    if found["address"]:
        try:
            ipaddress.IPv6Address(found["address"])
        except ValueError:
            return None
    return (found["address"] or found["name"]).lower(), int(found["port"]) if found["port"] else None


def host_of(asked: HTTPConnection) -> tuple[str, int | None] | None:
    """Return the name and the port that a request is for. None if it has not exactly one well-formed Host header."""
    given = asked.headers.getlist("host")
    return host_and_port(given[0]) if len(given) == 1 else None


def scheme_of(asked: HTTPConnection) -> str:
    """Return "https" or "http": how the browser reached this server, or the first of its proxies.

    Everybody may send X-Forwarded-Proto. It decides only what concerns the sender: no page of a browser can set it.
    """
    said = _forwarded(asked, "proto").lower() or asked.scope.get("scheme")
    return "https" if said in ("https", "wss") else "http"


def _forwarded(asked: HTTPConnection, what: str) -> str:
    """Return what the first of several proxies says of the browser's request; "" if there is none."""
    return asked.headers.get(f"x-forwarded-{what}", "").split(",")[0].strip()


def is_from_own_page(asked: HTTPConnection, url: str) -> bool:
    """Return whether a socket's Origin, if it has one, is the address of this request or the public URL."""
    origin = asked.headers.get("origin")
    if origin is None:
        return True
    hosts = (asked.headers.get("host"), _forwarded(asked, "host"))
    own = {f"{scheme_of(asked)}://{host}".lower() for host in hosts if host}
    if url:
        own.add("{0.scheme}://{0.netloc}".format(urlsplit(url)).lower())
    return origin.lower() in own


def is_from_elsewhere(asked: HTTPConnection) -> bool:
    """Return whether a page of another site, or of another service on this host, made the request.

    Browsers say so since 2023. A cookie does not tell: cookies and SameSite ignore ports.
    """
    return asked.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def opens_a_page(asked: HTTPConnection) -> bool:
    """Return whether a browser makes the request to show the answer in a window of its own: somebody used a link."""
    headers = asked.headers
    shown = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return shown and asked.scope.get("method") in ("GET", "HEAD")
