"""What the gate requires of visitors: a password or single sign-on, and accepted host names.

``orl explore`` decides it and passes it to the server in environment variables.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from orl_explorer.app.server.asked import host_and_port
from orl_explorer.train.errors import UserError

OIDC = ("ORL_OIDC_ISSUER", "ORL_OIDC_CLIENT_ID", "ORL_OIDC_CLIENT_SECRET")
VERIFIES = "ORL_OIDC_VERIFIES_EMAIL"
INVENTED = "ORL_PASSWORD_INVENTED"
IN_FILES = ("ORL_PASSWORD", "ORL_OIDC_CLIENT_SECRET")  # may be in a file that the variable NAME_FILE names
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Access:
    """Requirements of the gate; by default none.

    password: shared by all people. issuer, client: of an OpenID Connect provider. people: e-mail addresses, or domains
    after an @, that may log in by it; empty for all accounts of the provider. verifies_email: whether the provider
    verifies all addresses, so that an address without a statement counts as verified. url: public address of the
    server behind a proxy, with its base path. hosts: accepted host names; empty for all. invented: whether the password
    is a random one of this start, which also opens by a link.
    """

    password: str = ""
    issuer: str = ""
    client_id: str = ""
    client_secret: str = ""
    people: tuple[str, ...] = ()
    url: str = ""
    hosts: tuple[str, ...] = ()
    verifies_email: bool = False
    invented: bool = False

    @property
    def closed(self) -> bool:
        """Whether a login is required."""
        return bool(self.password or self.issuer)

    @property
    def key(self) -> str:
        """A text that changes when people must log in again. An invented password is no reason: it is new each time."""
        known = "" if self.invented else self.password
        parts = (known, self.issuer, self.client_id, self.client_secret, *self.people, str(self.verifies_email))
        return "\0".join(parts)

    def environment(self) -> dict[str, str]:
        """Return the environment variables from which ``from_environment`` reads the same access."""
        return {
            "ORL_PASSWORD": self.password,
            INVENTED: str(int(self.invented)),
            **dict(zip(OIDC, (self.issuer, self.client_id, self.client_secret), strict=True)),
            **{f"{name}_FILE": "" for name in IN_FILES},  # they have been read
            "ORL_OIDC_PEOPLE": " ".join(self.people),
            "ORL_PUBLIC_URL": self.url,
            "ORL_HOSTS": " ".join(self.hosts),
            VERIFIES: str(int(self.verifies_email)),
        }


def from_environment() -> Access:
    """Read access from environment variables.

    Raises UserError if a setting of OpenID Connect is missing, the public URL is none, or a password cannot be read.
    """
    found = [_secret(name) if name in IN_FILES else os.environ.get(name, "") for name in OIDC]
    if any(found) and not all(found):
        missing = [name for name, value in zip(OIDC, found, strict=True) if not value]
        raise UserError(f"Login by OpenID Connect also needs {' and '.join(missing)}. Set it in the environment.")
    people, hosts = (tuple(os.environ.get(name, "").split()) for name in ("ORL_OIDC_PEOPLE", "ORL_HOSTS"))
    issuer, client_id, client_secret = found
    verifies = os.environ.get(VERIFIES, "0")
    if verifies not in ("0", "1"):
        raise UserError(f"Invalid value for {VERIFIES}: '{verifies}'. Set it to 1 or 0.")
    url = os.environ.get("ORL_PUBLIC_URL", "")
    found_url = re.fullmatch(r"https?://(?P<host>[^/?#]+)(/[^?#]*)?", url)
    if url and (found_url is None or host_and_port(found_url["host"]) is None):
        raise UserError(f"Invalid value for ORL_PUBLIC_URL: '{url}'. Use an address such as https://lab.example/orl.")
    return Access(
        password=_secret("ORL_PASSWORD"),
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        people=people,
        url=url,
        hosts=hosts,
        verifies_email=verifies == "1",
        invented=os.environ.get(INVENTED) == "1",
    )


def _secret(name: str) -> str:
    """Return the value of a variable, or the content of the file that the variable NAME_FILE names."""
    given, file = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "")
    if not file:
        if not given.isascii() and any("\ud800" <= c <= "\udfff" for c in given):  # bytes that are no character
            raise UserError(f"${name} is not UTF-8. Choose another password.")
        return given
    if given:
        raise UserError(f"${name} and ${name}_FILE are both set. Set only one of them.")
    try:
        secret = Path(file).expanduser().read_text("utf-8").removesuffix("\n")
    except OSError as error:
        raise UserError(f"Cannot read {file}, which ${name}_FILE names: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Cannot read {file}, which ${name}_FILE names: it is not UTF-8.") from error
    if not secret or "\0" in secret:
        raise UserError(f"{file}, which ${name}_FILE names, {'has a NUL character' if secret else 'is empty'}.")
    return secret


def is_local(host: str) -> bool:
    """Return whether only this machine can reach an address to listen on."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def invent_password() -> str:
    """Return a random password for a server without one."""
    return secrets.token_urlsafe(12)
