"""``orl demo`` and ``orl explore``."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from orl_explorer import app
from orl_explorer.app.cli.common import Detach, Where, follow_run, out, progress_bar
from orl_explorer.app.cli.dev import serve
from orl_explorer.app.explorer.paths import roots_environment
from orl_explorer.app.server import base_path as below
from orl_explorer.app.server.access import LOCAL_NAMES, Access, from_environment, invent_password, is_local
from orl_explorer.train.errors import UserError
from orl_explorer.train.interpreter import module_command
from orl_explorer.train.jobs.launcher import PATIENT
from orl_explorer.train.workspace import open_workspace

_APP = Path(app.__file__).parent
_OPTIONS: dict[str, object] = {
    "server.headless": "true",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": 1,
    # not as a .streamlit/config.toml of the current folder says:
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.enableStaticServing": "false",
    "server.enableAgentApi": "false",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "viewer",
    "client.showErrorDetails": "none",
    "global.disableWidgetStateDuplicationWarning": "true",  # a changed filter goes back to page 1
    "logger.level": "warning",
    "logger.hideWelcomeMessage": "true",
    "theme.light.primaryColor": "#0f7b6c",
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
        typer.Option(
            help="Address to listen on. Any address other than 127.0.0.1 lets other machines connect, after a login."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Show everything, but do not allow changes or new runs.")
    ] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Also accept this host name in URLs. May be repeated.")
    ] = None,
    base_path: Annotated[
        str | None,
        typer.Option(
            help="Path under which a proxy publishes the explorer, such as /orl. "
            "Default: $ORL_BASE_PATH, else $STREAMLIT_SERVER_BASE_URL_PATH, else none."
        ),
    ] = None,
    photos_below: PhotosBelow = None,
    dev: Annotated[bool, typer.Option("--dev", help="Reload the explorer when its source files change.")] = False,
) -> None:
    """Start the web app and print its address.

    To require a password, set $ORL_PASSWORD. To require login with an OpenID Connect provider, set $ORL_OIDC_ISSUER,
    $ORL_OIDC_CLIENT_ID and $ORL_OIDC_CLIENT_SECRET. To admit only some of its users, list their e-mail addresses in
    $ORL_OIDC_PEOPLE, separated by spaces; the provider must report these addresses as verified. If it verifies all
    addresses but does not report it, set ORL_OIDC_VERIFIES_EMAIL=1.
    """
    opened, access = open_workspace(workspace, read_only), from_environment()
    invented = not access.closed and not is_local(host)
    if invented:
        access = replace(access, password=invent_password())
    elif not access.closed:
        access = replace(access, hosts=(*LOCAL_NAMES, *(allow_host or ())))
    base, roots = _base_path(base_path, access), roots_environment(photos_below)
    _refuse_taken(host, port)
    address = f"http://{_shown(host)}:{port}" + (f"{base}/" if base else "")
    where = f"(workspace {escape(str(opened.path))}; stop with Ctrl-C)"
    out.print(f"ORL Explorer: [bold]{escape(address)}[/]  {where}", markup=True, soft_wrap=True)
    if invented:
        out.print(f"Password: [bold]{access.password}[/]  (set your own with $ORL_PASSWORD)", markup=True)
    opened.store.close()
    told = {"ORL_WORKSPACE": str(opened.path), "ORL_READ_ONLY": str(int(read_only)), below.VARIABLE: base}
    environment = PATIENT | os.environ | told | roots | access.environment()
    options = _OPTIONS | {"server.address": host, "server.port": port, "server.baseUrlPath": base}
    sys.stdout.flush()
    if dev:
        with suppress(KeyboardInterrupt):
            serve(_streamlit(options | _DEV_OPTIONS), environment | {"ORL_DEV": "1"})
        return
    os.execve(sys.executable, _streamlit(options), environment)


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


def _refuse_taken(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            no_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            advice = "Choose an address of this machine with --host" if no_host else "Choose another port with --port"
            raise UserError(f"Cannot listen on {bracketed(host)}:{port}: {error.strerror}. {advice}.") from error


def _streamlit(options: dict[str, object]) -> list[str]:
    flags = [f"--{name}={value}" for name, value in options.items()]
    return module_command("orl_explorer.app.server", "run", str(_APP / "server/server.py"), *flags)
