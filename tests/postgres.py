"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

EMPTY = "empty"  # a database with the tables of a new store


class PostgresServer:
    """A running server. It sorts names by a language, as servers of most people do, and keeps nothing over a crash."""

    def __init__(self, programs: Path, *, port: int | None = None) -> None:
        """Start it. port: of 127.0.0.1 too, with the password ``secret`` for all who come that way."""
        # The path of a socket has at most 107 characters, and root may not run the server.
        self.folder = Path(tempfile.mkdtemp(prefix="orl-pg-", dir="/tmp"))
        self._programs, self._made = programs, 0
        self._other: dict[str, Any] = {} if os.geteuid() else {"user": "postgres", "group": "postgres"}
        if self._other:
            self._other["extra_groups"] = []
            shutil.chown(self.folder, "postgres", "postgres")
        icu = ("--locale-provider=icu", "--icu-locale=en")
        self._run("initdb", "--auth=trust", "--username=orl", "--no-sync", "--encoding=UTF8", *icu)
        if port is not None:
            (self.folder / "data/pg_hba.conf").write_text(
                "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
            )
        listening = "-c listen_addresses=" + ("" if port is None else f"127.0.0.1 -c port={port}")
        unsafe = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"
        self._run("pg_ctl", "-w", "-l", f"{self.folder}/log", "-o", f"{listening} {unsafe} -k {self.folder}", "start")
        self.port = port or 5432

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / program, "-D", self.folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._other)

    def stop(self) -> None:
        """Stop the server and delete its files."""
        self._run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql+psycopg://orl@/{database}?host={self.folder}&port={self.port}"

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the database of the server's owner."""
        import psycopg

        with psycopg.connect(host=str(self.folder), port=self.port, user="orl", dbname="postgres") as connection:
            connection.autocommit = True
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template1") -> str:
        """Create a database, empty or as a copy of another, which nobody may use meanwhile. Return its address."""
        self._made += 1
        self.ask(f'CREATE DATABASE "made{self._made}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url(f"made{self._made}")

    def drop(self, url: str) -> None:
        """Delete a database, whoever uses it."""
        self.ask(f'DROP DATABASE "{url.split("/")[3].split("?")[0]}" WITH (FORCE)')


def postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs. Skip the test if there is none, except in CI."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.environ["PATH"].split(":"))]
    programs = next((folder for folder in found if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)
    if programs is None:
        assert "CI" not in os.environ, "This test needs PostgreSQL. Install it with: apt-get install postgresql"
        pytest.skip("no PostgreSQL; install it with: apt-get install postgresql")
    pytest.importorskip("psycopg")
    return programs
