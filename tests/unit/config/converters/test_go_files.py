"""The Go tool's files in our format: the same rules and registries, without the passwords."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_syncer.config.converters import ConversionOptions, FileFormat, convert_files
from image_syncer.config.loader import load_configuration
from image_syncer.errors import ConfigurationError

AUTH = """\
quay.io: {username: robot, password: "hunter2", insecure: true}
quay.io/team: {username: $USER, password: "${PASS}"}
index.docker.io: {username: old, password: old}
docker.io: {username: "a$b", password: "$X and more", identityToken: "told to nobody", usrname: x}
nexus.example:
  password:
  ca_file: certs/ca.pem
  proxy: http://me:hidden@proxy.example:3128
  client_cert: /etc/c.pem
  client_key_password: "hush"
  headers: {X-Token: "mine", X-Other: "${KEPT}"}
  rate: [{days: mon-fri, from: "08:00", to: "18:00", rate: 50MB/s}, {rate: 500MB/s}]
  profile: {kind: nexus, mounts: same owner}
  max_connections: 8
"""


@pytest.fixture
def auth(tmp_path):
    path = tmp_path / "auth.yaml"
    path.write_text(AUTH, encoding="utf-8")
    return str(path)


def lines_of(done):
    return [line for line in done.text.splitlines() if line and not line.lstrip().startswith("#")]


def test_secrets_become_variables_and_paths_stay_right(auth):
    done = convert_files(auth=auth)
    folder = Path(auth).parent
    assert lines_of(done) == [
        "version: 2",
        "registries:",
        "  quay.io:",
        "    username: robot",
        '    password: "${QUAY_IO_PASSWORD}"',
        "    insecure: true",
        "  quay.io/team:",
        '    username: "${USER}"',
        '    password: "${PASS}"',
        "  docker.io:",
        '    username: "a${b}"',
        '    password: "${DOCKER_IO_PASSWORD}"',
        "  nexus.example:",
        f'    ca_file: "{folder}/certs/ca.pem"',
        '    proxy: "http://me:${NEXUS_EXAMPLE_PROXY_PASSWORD}@proxy.example:3128"',
        '    client_cert: "/etc/c.pem"',
        '    client_key_password: "${NEXUS_EXAMPLE_CLIENT_KEY_PASSWORD}"',
        '    headers: {"X-Token": "${NEXUS_EXAMPLE_HEADER_X_TOKEN}", "X-Other": "${KEPT}"}',
        '    rate: [{"days": mon-fri, "from": "08:00", "to": "18:00", "rate": "50MB/s"}, {"rate": "500MB/s"}]',
        '    profile: {"kind": nexus, "mounts": "same owner"}',
        "    max_connections: 8",
        "rules: []",
    ]
    for secret in ("hunter2", "and more", "told to nobody", "hidden", "hush", "mine"):
        assert secret not in done.text
        assert secret not in "\n".join(map(str, [*done.warnings, *done.secrets]))
    assert [secret.name for secret in done.secrets] == [
        "QUAY_IO_PASSWORD",
        "DOCKER_IO_PASSWORD",
        "NEXUS_EXAMPLE_PROXY_PASSWORD",
        "NEXUS_EXAMPLE_CLIENT_KEY_PASSWORD",
        "NEXUS_EXAMPLE_HEADER_X_TOKEN",
    ]
    assert {(one.line, one.what) for one in done.warnings} >= {
        (3, "the same registry as docker.io, which counts"),
        (4, "identity tokens are not in our format"),
        (4, "unknown key, it has no effect"),
    }
    assert "identity tokens" in done.text
    assert "[docker.io › usrname]: unknown key" in done.text


def test_a_new_file_in_the_same_folder_keeps_paths(auth):
    done = convert_files(auth=auth, options=ConversionOptions(folder=str(Path(auth).parent)))
    assert "    ca_file: certs/ca.pem" in lines_of(done)


def test_with_secrets(auth):
    done = convert_files(auth=auth, options=ConversionOptions(with_secrets=True))
    passwords = [line.strip() for line in lines_of(done) if "password:" in line]
    assert passwords == [
        "password: hunter2",
        'password: "${PASS}"',
        'password: "${DOCKER_IO_PASSWORD}"',
        "client_key_password: hush",
    ]


def test_the_single_file_follows_fewer_references(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(
        '{"auth": {"a.example": {"Username": "x${y}", "PASSWORD": "$P"}, "b.example": {"username": "${U}",'
        ' "password": "${P}"}}, "images": {"nginx:1": "$R/x"}}'
    )
    done = convert_files(file=str(path), options=ConversionOptions(with_secrets=True))
    assert done.format is FileFormat.GO
    assert lines_of(done)[2:] == [
        "  a.example:",
        '    username: "${A_EXAMPLE_USERNAME}"',
        '    password: "$P"',
        "  b.example:",
        '    username: "${U}"',
        '    password: "${P}"',
        "rules:",
        "  - source: nginx:1",
        '    destination: "${R}/x"',
    ]


def test_two_files_become_one(auth, tmp_path):
    images = tmp_path / "images.yaml"
    images.write_text("nginx:1: [quay.io/team/nginx, $OTHER/nginx]\nredis:/^7/: quay.io/team/redis\n", encoding="utf-8")
    done = convert_files(auth=auth, images=str(images))
    new = tmp_path / "new.yaml"
    new.write_text(done.text.replace("/certs/ca.pem", "/auth.yaml").replace("/etc/c.pem", auth), encoding="utf-8")
    environ = dict.fromkeys(
        [*(secret.name for secret in done.secrets), "USER", "PASS", "OTHER", "KEPT", "b"], "x.example"
    )
    configuration = load_configuration(config=str(new), environ=environ)
    assert [len(rule.destinations) for rule in configuration.rules] == [2, 1]
    assert len(configuration.registries.entries) == 4


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("images.yaml", "nginx:1,2: a.example/x:1\n", r"images.yaml:1 \[nginx:1,2\]: the source has 2 tags"),
        ("images.yaml", "nginx: [a.example/x]\nnginx: a.example/x\n", "written twice: on line 1 and on line 2"),
        ("own.yaml", "version: 2\nrules: []\n", "in our own format already"),
        ("list.yaml", "[a, b]", "no mapping"),
        ("empty.yaml", "", "the file is empty"),
        ("empty.yaml", "{}", "no file of a tool that is known"),
        ("broken.json", "{", "not JSON"),
        ("there-is-none.yaml", None, "does not exist"),
    ],
)
def test_what_cannot_be_read(tmp_path, name, content, what):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=what):
        convert_files(file=str(path))


def test_which_files_go_together(auth):
    with pytest.raises(ConfigurationError, match="nothing to convert"):
        convert_files()
    with pytest.raises(ConfigurationError, match="nothing to convert"):
        convert_files(file=auth, auth=auth)
    with pytest.raises(ConfigurationError, match="files of the Go tool, not of regsync"):
        convert_files(auth=auth, source_format=FileFormat.REGSYNC)
