"""What ``orl explore`` requires of visitors, by its options and the environment."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orl_explorer.app.cli import start
from orl_explorer.app.server.access import Access, from_environment, is_local
from orl_explorer.app.server.base_path import base_path, normal
from orl_explorer.train.errors import UserError
from tests.browser.conftest import free_port
from tests.shell import orl, refused

VARIABLES = ("ORL_PASSWORD", "ORL_PASSWORD_FILE", "ORL_OIDC_ISSUER", "ORL_PUBLIC_URL", "ORL_BASE_PATH")

Explore = Callable[..., tuple[str, Access, list[str]]]


@pytest.fixture
def explore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explore:
    """Run ``orl explore`` up to the start of its server. Return what it printed, the access and the command line."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))

    def run(*words: str) -> tuple[str, Access, list[str]]:
        done = orl("explore", "--workspace", tmp_path / "w", "--port", str(free_port()), *words)
        assert done.returncode == 0, done.stderr
        command, environment = started.pop()
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return done.stdout + done.stderr, from_environment(), command

    return run


def test_the_printed_address_is_a_link_that_logs_in(explore: Explore) -> None:
    said, access, command = explore("--base-path", "lab")
    found = re.search(r"ORL Explorer: http://localhost:\d+/lab/login\?token=(\S{16,}) ", said)
    assert found is not None
    assert (access.password, access.invented, access.hosts) == (found[1], True, ("localhost", "127.0.0.1", "::1"))
    assert not any(found[1] in word for word in command)
    assert "Password:" not in said
    assert explore()[1].password != access.password


def test_other_people_are_told_the_password_of_the_link(explore: Explore) -> None:
    said, access, _ = explore("--host", "0.0.0.0")
    assert re.findall(r"(?:token=|Password: )(\S+)", said) == [access.password, access.password]
    assert access.hosts == ()


def test_no_login_is_for_this_machine_alone(explore: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, access, _ = explore("--no-login")
    assert (access.closed, access.hosts) == (False, ("localhost", "127.0.0.1", "::1"))
    assert re.match(r"ORL Explorer: http://localhost:\d+  \(", said)
    words = ("explore", "--no-login", "--workspace", tmp_path / "w")
    assert "would let everybody in who reaches 0.0.0.0." in refused(*words, "--host", "0.0.0.0")
    monkeypatch.setenv("ORL_PASSWORD", "open sesame, please")
    assert "--no-login contradicts the environment, which asks for a password." in refused(*words)
    monkeypatch.delenv("ORL_PASSWORD")
    for name in ("ORL_OIDC_ISSUER", "ORL_OIDC_CLIENT_ID", "ORL_OIDC_CLIENT_SECRET"):
        monkeypatch.setenv(name, "https://login.example")
    assert "--no-login contradicts the environment, which asks for OpenID Connect." in refused(*words)


def test_allowed_names_count_with_a_password_too(
    explore: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORL_PASSWORD", "open sesame, please")
    assert explore("--host", "0.0.0.0")[1].hosts == ()
    monkeypatch.setenv("ORL_PUBLIC_URL", "https://orl.example")
    access = explore("--host", "0.0.0.0", "--allow-host", "Lab.example")[1]
    assert access.hosts == ("localhost", "127.0.0.1", "::1", "lab.example", "orl.example")
    words = ("explore", "--workspace", tmp_path / "w", "--allow-host")
    for odd in ("https://lab.example", "lab.example:80", "lab example", ""):
        assert f"Invalid value for --allow-host: '{odd}'." in refused(*words, odd)


def test_a_short_password_gets_a_warning(explore: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = "Warning: The password has fewer than 12 characters. Choose a longer one."
    monkeypatch.setenv("ORL_PASSWORD", "open sesame")
    assert warning in explore()[0]
    monkeypatch.setenv("ORL_PASSWORD", "open sesame!")
    said, access, _ = explore()
    assert "Warning" not in said
    assert "sesame" not in said
    assert not access.invented


def test_a_password_may_be_in_a_file(explore: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, words = tmp_path / "password", ("explore", "--workspace", tmp_path / "w")
    monkeypatch.setenv("ORL_PASSWORD_FILE", str(file))
    assert f"Cannot read {file}, which $ORL_PASSWORD_FILE names: No such file or directory." in refused(*words)
    for content, problem in ((b"", "is empty."), (b"\n", "is empty."), (b"a\0b", "has a NUL character.")):
        file.write_bytes(content)
        assert f"{file}, which $ORL_PASSWORD_FILE names, {problem}" in refused(*words)
    file.write_bytes(b"\xff")
    assert f"Cannot read {file}, which $ORL_PASSWORD_FILE names: it is not UTF-8." in refused(*words)
    file.write_text("öpen sesame please \n\n")
    said, access, command = explore()
    assert (access.password, access.invented) == ("öpen sesame please \n", False)
    assert not any("sesame" in word for word in (said, *command))
    monkeypatch.setenv("ORL_PASSWORD", "another")
    assert "$ORL_PASSWORD and $ORL_PASSWORD_FILE are both set. Set only one of them." in refused(*words)


def test_bytes_that_are_no_characters_are_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"ORL_PASSWORD", b"open \xff sesame")
    with pytest.raises(UserError, match=r"\$ORL_PASSWORD is not UTF-8\. Choose another password\."):
        from_environment()


@pytest.mark.parametrize(
    "url", ["lab.example", "https://[", "https://lab.example:99999999", "https:///orl", "ftp://a", "https://u@a"]
)
def test_a_public_url_is_an_address(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ORL_PUBLIC_URL", url)
    with pytest.raises(UserError, match=re.escape(f"Invalid value for ORL_PUBLIC_URL: '{url}'. Use an address such")):
        from_environment()


def test_the_secret_of_a_client_may_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("ORL_OIDC_ISSUER", "https://login.example")
    monkeypatch.setenv("ORL_OIDC_CLIENT_ID", "explorer")
    monkeypatch.setenv("ORL_OIDC_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    assert from_environment().client_secret == "s3cret"


def test_a_certificate_is_checked_before_the_start(explore: Explore, tmp_path: Path) -> None:
    chain, key, words = tmp_path / "chain.pem", tmp_path / "key.pem", ("explore", "--workspace", tmp_path / "w")
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*making, "-out", chain, "-keyout", key], check=True, capture_output=True)
    said, _, command = explore("--tls-cert", str(chain), "--tls-key", str(key))
    assert "ORL Explorer: https://localhost:" in said
    assert {f"--server.sslCertFile={chain}", f"--server.sslKeyFile={key}"} <= {*command}
    assert "Give both --tls-cert and --tls-key." in refused(*words, "--tls-cert", chain)
    sealed = tmp_path / "sealed.pem"
    sealing = ["openssl", "rsa", "-in", key, "-aes128", "-passout", "pass:word", "-out", sealed]
    subprocess.run(sealing, check=True, capture_output=True)
    what = "they are not a certificate and its key in PEM, or the key has a passphrase."
    for wrong in (chain, sealed):
        problem = refused(*words, "--tls-cert", chain, "--tls-key", wrong)
        assert f"Cannot use {chain} with the key {wrong}: {what}" in problem
    none = tmp_path / "none"
    said = refused(*words, "--tls-cert", none, "--tls-key", key)
    assert f"Cannot use {none} with the key {key}: No such file or directory." in said


def test_the_protections_of_streamlit_do_not_depend_on_its_configuration(explore: Explore) -> None:
    assert {
        "--server.enableCORS=true",
        "--server.enableXsrfProtection=true",
        "--server.enableStaticServing=false",
        "--server.enableAgentApi=false",
        "--server.sslCertFile=",
        "--server.sslKeyFile=",
        "--client.showErrorDetails=none",
    } <= {*explore()[2]}


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_only_loopback_addresses_are_local(host: str, local: bool) -> None:
    assert is_local(host) is local


def test_half_a_provider_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_OIDC_ISSUER", "https://login.example")
    with pytest.raises(UserError, match=r"also needs ORL_OIDC_CLIENT_ID and ORL_OIDC_CLIENT_SECRET\."):
        from_environment()


def test_access_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Access(
        password="pass",
        issuer="https://login.example",
        client_id="id",
        client_secret="secret",
        people=("@example.org",),
        url="https://orl.example",
        hosts=("a", "b"),
        verifies_email=True,
        invented=True,
    )
    for name, value in asked.environment().items():
        monkeypatch.setenv(name, value)
    assert from_environment() == asked


def test_a_setting_that_is_neither_yes_nor_no_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORL_OIDC_VERIFIES_EMAIL", "maybe")
    with pytest.raises(UserError, match=r"Invalid value for ORL_OIDC_VERIFIES_EMAIL: 'maybe'. Set it to 1 or 0\."):
        from_environment()


@pytest.mark.parametrize(
    ("given", "meant"),
    [("", ""), ("/", ""), ("orl", "/orl"), ("/orl", "/orl"), ("/orl/", "/orl"), ("/a/b", "/a/b"), ("a/b.c/", "/a/b.c")],
)
def test_a_base_path_has_one_form(given: str, meant: str) -> None:
    assert normal(given) == meant


@pytest.mark.parametrize(
    "odd",
    ["//orl", "/a//b", "/..", "/a/../b", "my lab", "/é", "/a?b", "/a#b", "http://a/b", "/%2e", "static", "/media/x"],
)
def test_an_odd_base_path_is_refused(odd: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"Invalid value for the base path: '{odd}'. Use names of letters")):
        normal(odd)


def test_streamlits_own_variable_sets_the_base_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORL_BASE_PATH", raising=False)
    monkeypatch.setenv("STREAMLIT_SERVER_BASE_URL_PATH", "/lab/")
    assert base_path() == "/lab"
    monkeypatch.setenv("ORL_BASE_PATH", "orl")
    assert base_path() == "/orl"


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "localhost"), ("::1", "[::1]"), ("lab.example", "lab.example")]
)
def test_the_printed_address_is_one_that_a_browser_opens(host: str, shown: str) -> None:
    assert start._shown(host) == shown


def test_a_public_url_needs_the_base_path() -> None:
    assert start._base_path("orl", Access(url="https://lab.example/orl/")) == "/orl"
    with pytest.raises(UserError, match=r"\$ORL_PUBLIC_URL is https://lab.example, but the base path is /orl\."):
        start._base_path("orl", Access(url="https://lab.example"))
