"""The image, and the services of compose.yaml. Where Docker and the images are, they are brought up."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orl_explorer.app.server.given import MOST_BYTES
from tests import nginx
from tests.browser.conftest import free_port

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
CONF = (ROOT / "deploy/nginx.conf").read_text()
EXPLORERS = {"explorer": "cpu", "explorer-gpu": "cuda"}  # services, and targets of the Dockerfile


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody else trusts, and its key."""
    files = tmp_path / "chain.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-days", "2", "-newkey", "rsa:2048", "-nodes"]
    command = ["openssl", "req", "-x509", *subject, "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    for file in files:
        file.chmod(0o644)  # the users of the containers are others
    return files


def test_every_image_of_compose_is_a_target_of_the_dockerfile() -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert stages == ["base", "project", "cuda", "cpu"]  # a build without --target takes the last
    assert {name: COMPOSE["services"][name]["build"]["target"] for name in EXPLORERS} == EXPLORERS


@pytest.mark.parametrize("name", EXPLORERS)
def test_the_explorer_has_few_rights_and_only_nginx_reaches_it(name: str) -> None:
    service = COMPOSE["services"][name]
    assert "ports" not in service
    assert set(service["networks"]) == {"front", "back"}
    assert all(COMPOSE["networks"][network]["internal"] for network in service["networks"])
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    assert service["security_opt"] == ["no-new-privileges"]
    assert service["volumes"][1].endswith(":/photos:ro")
    assert COMPOSE["services"]["nginx"]["networks"] == ["outside", "front"]
    assert COMPOSE["services"]["postgres"]["networks"] == ["back"]


def test_nginx_knows_every_process() -> None:
    (count,) = re.findall(r"--processes (\d+)", COMPOSE["services"]["explorer"]["command"])
    ports = re.findall(r"server explorer:(\d+);", CONF)
    assert ports == [str(8501 + at) for at in range(int(count))]


def test_every_setting_of_compose_is_in_the_example() -> None:
    used = set(re.findall(r"\$\{(ORL_\w+)", (ROOT / "compose.yaml").read_text())) | {"COMPOSE_PROFILES"}
    example = set(re.findall(r"^(\w+)=", (ROOT / "deploy/env.example").read_text(), re.MULTILINE))
    assert used - example == {"ORL_MEMORY"}  # it has a default
    assert example <= used


def test_nginx_accepts_its_configuration(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    conf = CONF.replace("server explorer:", "server 127.0.0.1:").replace("/tmp/", f"{tmp_path}/")
    for name, file in zip(("tls_cert", "tls_key"), certificate, strict=True):
        conf = conf.replace(f"/run/secrets/{name}", str(file))
    (tmp_path / "nginx.conf").write_text(conf)
    done = subprocess.run([nginx.program(), "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nginx_leads_to_the_explorer_by_the_port_that_the_browser_used(tmp_path: Path) -> None:
    """The port that nginx listens at is another one than that of the machine."""
    server = re.search(r"client_max_body_size.*?(?=location /orl/)", CONF, re.DOTALL)
    assert server is not None
    with nginx.proxied(tmp_path, free_port(), "/orl/", f"{server[0]} location /orl/ {{ return 200; }}") as address:
        host, port = address.removeprefix("http://").split(":")
        asked = http.client.HTTPConnection(host, int(port), timeout=10)
        asked.request("GET", "/", headers={"Host": "lab.example"})
        assert asked.getresponse().headers["Location"] == "/orl/"


def test_nginx_lets_a_picture_through_that_people_may_search_with() -> None:
    [megabytes] = re.findall(r"client_max_body_size (\d+)m;", CONF)
    assert int(megabytes) * 2**20 > MOST_BYTES
    assert f"client_max_body_size {megabytes}m;" in (ROOT / "docs/serve.md").read_text()


# With Docker --------------------------------------------------------------------------------------------


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, cwd=ROOT, timeout=300)


def _has_images(*names: str) -> bool:
    return shutil.which("docker") is not None and all(not _docker("image", "inspect", n).returncode for n in names)


@pytest.fixture
def image() -> str:
    """The image of the explorer, if this machine has it."""
    name = os.environ.get("ORL_IMAGE", "orl-explorer:cpu")
    if not _has_images(name):
        pytest.skip(f"Docker or the image {name} is not here")
    return name


@pytest.mark.slow
def test_a_job_is_healthy_and_an_explorer_is_healthy_when_it_answers(image: str) -> None:
    started = "--health-interval=1s", "--health-start-period=0s", "--rm", "-d", "--network", "none"
    job = _docker("run", *started, image, "sleep", "60").stdout.strip()
    tls = "--tmpfs", "/tmp", "--read-only"
    explorer = _docker("run", *started, *tls, image, "orl", "explore", "--base-path", "/orl", "--processes", "2")
    try:
        assert _health(job) == "healthy"
        assert _health(explorer.stdout.strip()) == "healthy"
    finally:
        _docker("kill", job, explorer.stdout.strip())


def _health(container: str) -> str:
    for _ in range(120):
        found = _docker("inspect", "--format", "{{.State.Health.Status}}", container).stdout.strip()
        if found != "starting":
            return found
        time.sleep(0.5)
    return "starting"


@pytest.mark.slow
def test_sets_are_listed_from_a_read_only_volume(image: str, mined_workspace: Any, tmp_path: Path) -> None:
    shutil.copytree(mined_workspace.path, tmp_path / "workspace")
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = _docker("run", "--rm", "-v", f"{tmp_path}/workspace:/workspace:ro", image, "orl", "sets", "list", "--json")
    assert [found["name"] for found in json.loads(done.stdout)] == ["demo-starter"], done.stderr


@pytest.fixture
def compose() -> list[str]:
    """The command of Docker Compose, if this machine has it and the images of its services."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            break
    else:
        pytest.skip("Docker Compose is not here")
    images = [COMPOSE["services"][name]["image"] for name in ("explorer", "postgres", "nginx")]
    if not _has_images(*images):
        pytest.skip(f"Docker or one of the images {', '.join(images)} is not here")
    return command


@pytest.fixture
def team(compose: list[str], certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[str]:
    """The services of compose.yaml, brought up. Yields their address, with the path."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "password").write_text("open sesame of the team\n")
    port = free_port()
    told = {
        "COMPOSE_PROJECT_NAME": "orl-test",
        "COMPOSE_PROFILES": "cpu",
        "ORL_ADDRESS": f"https://localhost:{port}",
        "ORL_PORT": str(port),
        "ORL_PHOTOS": str(tmp_path / "photos"),
        "ORL_PASSWORD_FILE": str(tmp_path / "password"),
        "ORL_TLS_CERT": str(certificate[0]),
        "ORL_TLS_KEY": str(certificate[1]),
        "ORL_DATABASE_PASSWORD": "secret of the test",
        "ORL_MEMORY": "4g",
    }
    for folder in [*tmp_path.parents][:3]:
        folder.chmod(folder.stat().st_mode | 0o055)  # for the users of the containers

    def run(*words: str) -> str:
        done = subprocess.run(
            [*compose, *words], cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    try:
        run("up", "-d", "--no-build")
        yield f"https://localhost:{port}/orl"
    finally:
        run("down", "--volumes", "--timeout", "20")


@pytest.mark.slow
def test_the_services_of_compose_serve_the_explorer_over_tls(team: str) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    until = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"{team}/login", timeout=5, context=trusting) as answer:
                assert b'name="password"' in answer.read()
                break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.5)
    assert answer.headers["set-cookie"].startswith("orl_process=")
