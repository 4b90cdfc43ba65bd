"""``orl demo`` and ``orl explore``."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from orl_explorer import app
from orl_explorer.app.cli.common import Detach, Where, follow_run, out, progress_bar
from orl_explorer.app.cli.dev import serve
from orl_explorer.app.cli.terminal import Terminal
from orl_explorer.app.explorer.paths import roots_environment
from orl_explorer.app.server import base_path as below
from orl_explorer.app.server.access import LOCAL_NAMES, Access, from_environment, invent_password, is_local
from orl_explorer.app.server.asked import host_and_port
from orl_explorer.app.server.door import LOGIN
from orl_explorer.app.server.sessions import session_secret
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import module_command
from orl_explorer.train.jobs.launchers.base import PATIENT
from orl_explorer.train.missing import missing_files, missing_in_words
from orl_explorer.train.workspace import Workspace, open_workspace

SHORT = 12  # characters of a password that gets a warning
_APP = Path(app.__file__).parent
_PROCESSES = "orl_explorer.app.server.processes"
_OPTIONS: dict[str, object] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 1,
    # whatever the user's own configuration of Streamlit says:
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    "server.sslCertFile": "",
    "server.sslKeyFile": "",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "runner.postScriptGC": "false",  # see idle.collect_garbage
    "global.disableWidgetStateDuplicationWarning": "true",  # a changed filter goes back to page 1
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
    "theme.light.primaryColor": "#0c6b5e",
    "theme.dark.primaryColor": "#3fb8a5",
}
_DEV_OPTIONS: dict[str, object] = {
    "server.fileWatcherType": "auto",
    "server.folderWatchList": str(_APP.resolve()),  # scripts and styles; dev.serve watches Python files
    "server.folderWatchBlacklist": str(_APP.parent),
    "server.runOnSave": "true",
    "client.showErrorDetails": "full",
}

PhotosBelow = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Let people in the browser add and evaluate only folders below this one. May be repeated. "
        "Default: $ORL_PHOTO_ROOTS, folders separated by colons, else every folder that the server can read.",
    ),
]


def demo(workspace: Where = None, detach: Detach = False) -> None:
    """Compose demo photos, add the starter encoder, and mine a correspondence set. Run it again to continue."""
    from orl_explorer.train.demo.build import SCENES, build_demo

    opened = open_workspace(workspace)
    with progress_bar() as bar:
        task = bar.add_task("Composing scenes", total=SCENES)
        run = build_demo(opened, lambda done, total: bar.update(task, completed=done, total=total))
        bar.update(task, completed=SCENES)
    if run is None:
        out.print("The demo is ready. Open it with `orl explore`.")
    else:
        follow_run(opened, run, detach)


def explore(
    workspace: Where = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Any address other than 127.0.0.1 lets other machines connect."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, but do not allow changes or new runs.")
    ] = False,
    no_login: Annotated[
        bool,
        typer.Option("--no-login", help="Require no login. All programs and users of this machine can then enter."),
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Accept this host name in URLs, besides localhost, and no other. May be repeated."),
    ] = None,
    base_path: Annotated[
        str | None,
        typer.Option(
            help="Path under which a proxy publishes the explorer, such as /orl. "
            "Default: $ORL_BASE_PATH, else $STREAMLIT_SERVER_BASE_URL_PATH, else none."
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve over TLS with this certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate (PEM, no passphrase).")] = None,
    photos_below: PhotosBelow = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Serve from this many processes, on --port and the ports after it, for a proxy that sends each "
            "browser always to the same one.",
        ),
    ] = 1,
    dev: Annotated[bool, typer.Option("--dev", help="Reload the explorer when its source files change.")] = False,
) -> None:
    """Start the web app and print its address, a link that logs you in.

    To choose a password, set $ORL_PASSWORD, or name a file that holds it in $ORL_PASSWORD_FILE. To require login with
    an OpenID Connect provider, set $ORL_OIDC_ISSUER, $ORL_OIDC_CLIENT_ID and $ORL_OIDC_CLIENT_SECRET (or
    $ORL_OIDC_CLIENT_SECRET_FILE). To admit only some of its users, list their e-mail addresses in $ORL_OIDC_PEOPLE,
    separated by spaces; the provider must report these addresses as verified. If it verifies all addresses but does
    not report it, set ORL_OIDC_VERIFIES_EMAIL=1.
    """
    opened, access = open_workspace(workspace, read_only), _access(host, allow_host or (), no_login)
    base, roots = _base_path(base_path, access), roots_environment(photos_below)
    certified, ports = _certificate(tls_cert, tls_key), _ports(port, processes, dev)
    with _free(host, ports):  # stays open when the server replaces this program
        _tell_of_missing_files(opened)
        _print_address(f"{'https' if tls_cert else 'http'}://{_shown(host)}:{port}{base}", opened.path, access, host)
        if processes > 1:
            out.print(f"Ports: {port} to {ports[-1]}. A proxy must send each browser always to the same one.")
        session_secret(opened, access)  # now, as several servers would each make one
        opened.store.close()
        told = {"ORL_WORKSPACE": str(opened.path), "ORL_READ_ONLY": str(int(read_only)), below.VARIABLE: base}
        options = _OPTIONS | certified | {"server.address": host, "server.baseUrlPath": base}
        _become_server(options, ports, PATIENT | os.environ | told | roots | access.environment(), dev)


def _become_server(options: dict[str, object], ports: range, environment: dict[str, str], dev: bool) -> None:
    """Replace this program by a server, or by what watches several. For ``--dev``, watch one here, until Ctrl-C."""
    sys.stdout.flush()
    alone = options | {"server.port": ports[0]}
    if dev:
        with suppress(KeyboardInterrupt):
            serve(_streamlit(alone | _DEV_OPTIONS), environment | {"ORL_DEV": "1"})
    elif len(ports) > 1:
        watched = module_command(_PROCESSES, str(len(ports)), str(ports[0]), *_streamlit(options))
        os.execve(sys.executable, watched, environment)
    else:
        os.execve(sys.executable, _streamlit(alone), environment)


def _ports(first: int, processes: int, dev: bool) -> range:
    """Return the ports to listen on. Raises UserError if there are none, or several with ``--dev``."""
    if dev and processes > 1:
        raise UserError("--dev serves from one process. Leave out --processes.")
    if first + processes - 1 > 65535:
        raise UserError(f"{processes} processes need {processes} ports from {first} on. Choose a lower --port.")
    return range(first, first + processes)


def _access(host: str, allowed: Sequence[str], no_login: bool) -> Access:
    """Return what visitors need: as the environment says, else an invented password or, with ``no_login``, nothing.

    Raises UserError if ``no_login`` contradicts the address or the environment, or a name to allow is none.
    """
    access = from_environment()
    if no_login and access.closed:
        what = "OpenID Connect" if access.issuer else "a password"
        raise UserError(f"--no-login contradicts the environment, which asks for {what}. Remove one of them.")
    if no_login and not is_local(host):
        raise UserError(
            f"--no-login would let everybody in who reaches {host}. Leave out one of --no-login and --host."
        )
    own = access.closed
    if not own and not no_login:
        access = replace(access, password=invent_password(), invented=True)
    if access.password and len(access.password) < SHORT and not access.invented:
        Terminal(stderr=True).print(f"Warning: The password has fewer than {SHORT} characters. Choose a longer one.")
    if not allowed and (own or not is_local(host)):
        return access  # whoever comes under another name has no cookie there
    public = urlsplit(access.url).hostname
    return replace(access, hosts=(*LOCAL_NAMES, *map(_host_name, allowed), *([public] if public else [])))


def _host_name(given: str) -> str:
    """Return a name of --allow-host as the gate compares it. Raises UserError if it is none."""
    found = host_and_port(bracketed(given.strip("[]")))
    if found is None or found[1] is not None:
        raise UserError(f"Invalid value for --allow-host: '{given}'. Use a host name without scheme, port and path.")
    return found[0]


def _tell_of_missing_files(opened: Workspace) -> None:
    if missing := missing_files(opened):
        said = f"{opened.path} lacks files that its store names: {missing_in_words(missing)}"
        Terminal(stderr=True).print(f"Warning: {said}. See `orl doctor`.", soft_wrap=True)


def _print_address(address: str, workspace: Path, access: Access, host: str) -> None:
    base = urlsplit(address).path
    entry = f"{address}{LOGIN}?token={access.password}" if access.invented else f"{address}/" if base else address
    where = f"(workspace {escape(str(workspace))}; stop with Ctrl-C)"
    out.print(f"ORL Explorer: [bold]{escape(entry)}[/]  {where}", markup=True, soft_wrap=True)
    if access.invented and (not is_local(host) or access.url or access.hosts != LOCAL_NAMES):
        out.print(f"Password: [bold]{access.password}[/]  (set your own with $ORL_PASSWORD)", markup=True)


def _certificate(chain: Path | None, key: Path | None) -> dict[str, object]:
    """Return the options of Streamlit for TLS. Raises UserError if the files are not a certificate and its key."""
    if chain is None and key is None:
        return {}
    if chain is None or key is None:
        raise UserError("TLS needs a certificate and its key. Give both --tls-cert and --tls-key.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key, password="")  # never asks the terminal
    except ssl.SSLError as error:
        what = "they are not a certificate and its key in PEM, or the key has a passphrase"
        raise UserError(f"Cannot use {chain} with the key {key}: {what}.") from error
    except OSError as error:
        raise UserError(f"Cannot use {chain} with the key {key}: {error.strerror}.") from error
    return {"server.sslCertFile": str(chain.absolute()), "server.sslKeyFile": str(key.absolute())}


def _base_path(given: str | None, access: Access) -> str:
    """Return the base path of the option, else of the environment. Raises UserError if the public URL has another."""
    base = below.base_path() if given is None else below.normal(given)
    if access.url and urlsplit(access.url).path.rstrip("/") != base:
        shown = base or "/"
        raise UserError(f"$ORL_PUBLIC_URL is {access.url}, but the base path is {shown}. Give both the same path.")
    return base


def _shown(host: str) -> str:
    """Return the host name in the printed address."""
    if host in ("127.0.0.1", "0.0.0.0", "::"):
        return "localhost"
    return bracketed(host)


def bracketed(host: str) -> str:
    """Return a host as it is written before a port."""
    return f"[{host}]" if ":" in host else host


def _free(host: str, ports: range) -> ExitStack:
    """Refuse ports that are in use, and occupy what ``_other_localhost`` does."""
    for port in ports:
        _refuse_taken(host, port)
    with ExitStack() as occupied:
        for port in ports:
            occupied.enter_context(_other_localhost(host, port))
        return occupied.pop_all()


def _other_localhost(host: str, port: int) -> AbstractContextManager:
    """Occupy [::1] too if the printed address says localhost, which browsers try there first; never listen there.

    Another account of this machine that listens there would get the link with the password. Raises UserError if the
    port is in use there.
    """
    if host == "::" or _shown(host) != "localhost":
        return nullcontext()
    try:
        other = socket.socket(socket.AF_INET6)
    except OSError:  # this machine has no IPv6
        return nullcontext()
    try:
        other.bind(("::1", port))
        other.set_inheritable(True)
    except OSError as error:
        other.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(_cannot_listen("::1", port, error, "Choose another port with --port")) from error
        return nullcontext()
    return other


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            no_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            advice = "Choose an address of this machine with --host" if no_host else "Choose another port with --port"
            raise UserError(_cannot_listen(host, port, error, advice)) from error


def _cannot_listen(host: str, port: int, error: OSError, advice: str) -> str:
    return f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}. {advice}."


def _streamlit(options: dict[str, object]) -> list[str]:
    flags = [f"--{name}={value}" for name, value in options.items()]
    return module_command("orl_explorer.app.server", "run", str(_APP / "server/server.py"), *flags)
