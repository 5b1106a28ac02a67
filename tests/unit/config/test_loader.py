"""Files as users write them, and every mistake in them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from image_syncer.config import MAX_FILE_BYTES
from image_syncer.config.file_reading import read_file
from image_syncer.config.loader import MAX_PROBLEMS, load_configuration, load_registries
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_platform, parse_repository
from image_syncer.registry import Credential

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def write(tmp_path):
    def write_file(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return str(path)

    return write_file


def problems_of(environ=None, **files):
    """What is told of the files: (line, key, what) of every problem."""
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(**files, environ=environ or {})
    assert caught.value.problems
    return [(problem.line, problem.key, problem.what) for problem in caught.value.problems]


def rules_of(configuration):
    """The rules as texts: source and destination of every pair whose tags are known."""
    return [f"{source} -> {target}" for rule in configuration.rules for source, target in rule.pairs()]


# --- The Go tool's files


def test_the_go_tools_files(write):
    auth = write(
        "auth.yaml",
        """\
        quay.io:
          username: ${NAME}
          password: a$PART-b
        quay.io/coreos: {username: 0012, password: 1e3, insecure: yes}
        registry.hub.docker.com: {username: hub, password: x}
        lab:5000:
        """,
    )
    images = write(
        "images.yaml",
        """\
        quay.io/coreos/etcd:3.10,3.20: $REG/etcd:a,b
        nginx:1.10:
        - $REG/nginx
        - ${REG}/nginx2:1
        """,
    )
    environ = {"NAME": "me", "PART": "secret", "REG": "r.io"}
    configuration = load_configuration(auth=auth, images=images, environ=environ)
    assert rules_of(configuration) == [
        "quay.io/coreos/etcd:3.10 -> r.io/etcd:a",
        "quay.io/coreos/etcd:3.20 -> r.io/etcd:b",
        "docker.io/library/nginx:1.10 -> r.io/nginx:1.10",
        "docker.io/library/nginx:1.10 -> r.io/nginx2:1",
    ]
    book = configuration.registries
    assert book.entry_for(parse_repository("quay.io/x/y")).credential == Credential("me", "asecret-b")
    assert book.entry_for(parse_repository("quay.io/coreos/y")).credential == Credential("0012", "1e3")
    assert book.entry_for(parse_repository("nginx")).credential == Credential("hub", "x")
    assert book.entry_for(parse_repository("lab:5000/x")).credential is None
    assert book.host_settings("quay.io").insecure
    assert not book.host_settings("lab:5000").insecure
    assert configuration.warnings == ()
    assert [rule.origin for rule in configuration.rules] == [f"{images}:1", f"{images}:2"]


def test_the_single_file_leaves_dollar_signs_alone_but_for_one_whole_reference(write):
    config = write(
        "config.json",
        """\
        {
        \t"auth": {
        \t\t"a.io": {"username": "$U", "password": "pa$$word${U}"},
        \t\t"b.io": {"username": "b", "password": "${U}", "Insecure": true}
        \t},
        \t"images": {"nginx:1": "$R/x", "redis:1": ["${R}/y"]}
        }
        """,
    )
    configuration = load_configuration(config=config, environ={"U": "value", "R": "r.io"})
    book = configuration.registries
    assert book.entry_for(parse_repository("a.io/x")).credential == Credential("$U", "pa$$word${U}")
    assert book.entry_for(parse_repository("b.io/x")).credential == Credential("b", "value")
    assert book.host_settings("b.io").insecure
    assert rules_of(configuration) == [
        "docker.io/library/nginx:1 -> r.io/x:1",
        "docker.io/library/redis:1 -> r.io/y:1",
    ]
    assert configuration.warnings == ()


def test_what_we_add_to_the_go_tools_entries(write):
    write("ca.pem", "certificate")
    auth = write(
        "auth.yml",
        "a.io: {ca_file: ca.pem, skip_tls_verify: true, max_connections: 7, identityToken: $T, username: me}",
    )
    configuration = load_registries(auth, environ={"T": "token"})
    settings = configuration.registries.host_settings("a.io")
    assert (settings.ca_file, settings.max_connections, settings.skip_tls_verify) == (
        str(Path(auth).parent / "ca.pem"),
        7,
        True,
    )
    assert configuration.registries.entries[0].credential == Credential("me", "", "token")
    [warning] = configuration.warnings
    assert "is not checked" in warning.what


def test_anchors_and_merge_keys(write):
    auth = write("auth.yaml", "a.io: &a {username: u, password: p}\nb.io: *a\nc.io: {<<: *a, insecure: true}\n")
    book = load_registries(auth, environ={}).registries
    assert {entry.credential for entry in book.entries} == {Credential("u", "p")}
    assert book.host_settings("c.io").insecure


def test_one_registry_under_two_names_is_a_warning_and_the_plain_name_wins(write):
    auth = write(
        "auth.yaml",
        "index.docker.io: {username: a, password: a}\ndocker.io: {username: b, password: b}\n",
    )
    configuration = load_registries(auth, environ={})
    assert configuration.registries.entry_for(parse_repository("nginx")).credential.username == "b"
    assert "are the same registry" in configuration.warnings[0].what


def test_unknown_keys_of_the_go_tools_files_are_warnings_with_a_guess(write):
    config = write(
        "config.yaml",
        """\
        auth:
          a.io:
            username: x
            pasword: hunter2
        image: {}
        images: {nginx:1: r.io/x}
        """,
    )
    configuration = load_configuration(config=config, environ={})
    assert [(w.line, w.key, w.what, w.mend) for w in configuration.warnings] == [
        (5, "image", "unknown key, it has no effect", "did you mean “images”?"),
        (4, "auth › a.io › pasword", "unknown key, it has no effect", "did you mean “password”?"),
        (3, "auth › a.io", "a username without a password", "write password too, or neither"),
    ]


# --- Our own format

OWN = f"""\
version: 2
registries:
  a.io: {{username: "${{U}}x", password: $U, max_connections: 3}}
rules:
  - source: a.io/p
    destination: ${{R}}/p
    platforms: [linux/amd64, linux/aarch64, linux/arm64/v8]
    tags: {{include: [1.10, "2.*"], exclude: "*-rc*", regex: "^[0-9]", exclude_regex: "9$"}}
  - source: a.io/q:1,2
    destination: [r.io/q, "r.io/q:a,b"]
  - {{source: a.io/q@{DIGEST}, destination: r.io/d:v1, platforms: linux/arm/v7}}
  - source: a.io/s
    destination: r.io/s:x
    tags: {{include: 1.0}}
"""


def test_our_own_format(write):
    configuration = load_configuration(config=write("c.yaml", OWN), environ={"U": "me", "R": "r.io"})
    listed, named, digest, exact = configuration.rules
    assert str(listed.source) == "a.io/p"
    assert listed.tags.select(["1.1", "1.10", "2.0", "2.9", "2.1-rc1", "x2.0"]) == ["1.10", "2.0"]
    assert [str(platform) for platform in listed.platforms] == ["linux/amd64", "linux/arm64"]
    assert [len(rule.pairs()) for rule in (named, digest, exact)] == [4, 1, 1]
    assert digest.platforms == (parse_platform("linux/arm/v7"),)
    assert [str(target) for _, target in exact.pairs()] == ["r.io/s:x"]
    entry = configuration.registries.entry_for(parse_repository("a.io/z"))
    assert entry.credential == Credential("mex", "$U")
    assert configuration.registries.host_settings("a.io").max_connections == 3


def test_our_own_format_as_json_is_the_same(write):
    yaml_file = write("a.yaml", "version: 2\nrules: [{source: nginx:1, destination: [r.io/a, r.io/b]}]")
    json_file = write("a.json", '{"version": 2, "rules": [{"source": "nginx:1", "destination": ["r.io/a", "r.io/b"]}]}')
    one, other = (load_configuration(config=path, environ={}) for path in (yaml_file, json_file))
    assert rules_of(one) == rules_of(other)


def test_one_data_model_under_both_spellings(write):
    go = write("go.yaml", "images: {'a.io/x:/^v1/': [r.io/x, r.io/y]}\nauth: {a.io: {username: u, password: p}}")
    own = write(
        "own.yaml",
        """\
        version: 2
        registries: {a.io: {username: u, password: p}}
        rules: [{source: a.io/x, tags: {regex: ^v1}, destination: [r.io/x, r.io/y]}]
        """,
    )
    one, other = (load_configuration(config=path, environ={}) for path in (go, own))
    assert one.registries == other.registries
    assert [(r.source, r.tags, r.destinations) for r in one.rules] == [
        (r.source, r.tags, r.destinations) for r in other.rules
    ]


def test_our_own_format_split_over_auth_and_images(write):
    own = write("own.yaml", OWN)
    go = write("auth.json", '{"b.io": {"insecure": true}}')
    environ = {"U": "me", "R": "r.io"}
    both = load_configuration(auth=own, images=own, environ=environ)
    assert (len(both.rules), len(both.registries.entries), both.warnings) == (4, 1, ())
    mixed = load_configuration(auth=go, images=own, environ=environ)
    assert mixed.registries.host_settings("b.io").insecure
    assert [(warning.key, warning.what) for warning in mixed.warnings] == [("registries", "not read from this file")]


PLATFORM = (
    "'linux' is not a platform: write os/architecture or os/architecture/variant, such as linux/amd64 or linux/arm/v7"
)
LOOK_AROUND = (
    "the regular expression cannot be used: only (?:…), (?P<name>…), (?i:…) and flags are supported after (?, "
    "no look-around (at character 1)"
)


def test_every_mistake_of_our_own_format(write):
    own = write(
        "own.yaml",
        """\
        version: 3
        registry: {}
        registries:
          a.io:
            user: x
            max_connections: 0
            insecure: "yes"
            ca_file: nowhere.pem
            password: [a]
            username: ${a-b}
          "https//x": {}
          docker.io: {}
          index.docker.io: {}
        rules:
          - source: nginx
          - destination: r.io/x
          - source: nginx:1
            tags: {include: x}
            destination: r.io/y
          - source: a.io/p
            destination: {to: r.io/p}
            platforms: [linux, linux/amd64]
            tags: {includes: x, exclude: "a b", regex: "(?=x)", exclude_regex: "a/b"}
          - [a, b]
          - source: a.io/q
            destination: r.io/q
            tags: {versions: new, newest: 0, suffix: "a b", prereleases: 1}
          - source: a.io/q
            destination: r.io/z
            tags: {suffix: -x, prereleases: true}
          - source: nginx:2
            destination: []
        """,
    )
    assert problems_of(config=own) == [
        (1, "version", "version 3 is not known"),
        (2, "registry", "unknown key"),
        (5, "registries › a.io › user", "unknown key"),
        (6, "registries › a.io › max_connections", "0 is not a whole number from 2"),
        (7, "registries › a.io › insecure", "yes is not a boolean"),
        (8, "registries › a.io › ca_file", f"the file {Path(own).parent}/nowhere.pem cannot be read"),
        (9, "registries › a.io › password", "a list, where one text is wanted"),
        (10, "registries › a.io › username", "a ${ that is not followed by a name and }"),
        (11, "registries › https//x", "“https//x” is neither a registry nor a registry with a namespace"),
        (13, "registries › index.docker.io", "“index.docker.io” and “docker.io” (line 12) are the same registry"),
        (15, "rules[0]", "the rule has no destination"),
        (16, "rules[1]", "the rule has no source"),
        (17, "rules[2] › source", "tags are chosen twice: in the source and under `tags`"),
        (21, "rules[3] › destination", "a mapping, where a text or a list of texts is wanted"),
        (22, "rules[3] › platforms", PLATFORM),
        (23, "rules[3] › tags › includes", "unknown key"),
        (23, "rules[3] › tags › exclude", "“a b” matches no tag"),
        (23, "rules[3] › tags › regex", LOOK_AROUND),
        (23, "rules[3] › tags › exclude_regex", "a regular expression with a slash, which no tag has"),
        (24, "rules[4]", "a list, where keys with values are wanted"),
        (27, "rules[5] › tags › versions", "“new”: no range of versions"),
        (27, "rules[5] › tags › suffix", "no tag ends with “a b”"),
        (27, "rules[5] › tags › prereleases", "1 is not a boolean"),
        (27, "rules[5] › tags › newest", "0 is not a whole number from 1"),
        (30, "rules[6] › tags › prereleases", "prereleases without versions"),
        (30, "rules[6] › tags › suffix", "suffix without versions"),
        (32, "rules[7] › destination", "the list is empty"),
    ]


# --- Mistakes


def test_all_problems_of_all_files_are_told_at_once(write):
    auth = write("auth.yaml", "a.io: {username: $UNSET_NAME, password: p}\na.io: {}\n")
    images = write("images.json", '{"a.io/x:1": "r.io/x:1,2",\n "a.io/y:/(/": "r.io/y",\n "": "r.io/z"}')
    assert problems_of(auth=auth, images=images) == [
        (1, "a.io › username", "the environment variable UNSET_NAME is not set"),
        (2, "a.io", "the key is written twice: on line 1 and on line 2"),
        (1, "a.io/x:1", "the source has 1 tag, the destination 2 tags"),
        (2, "a.io/y:/(/", "the regular expression cannot be used: missing ), unterminated subpattern (at character 1)"),
        (3, None, "the source is empty"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("nginx: ''", 1, "the destination is empty"),
        ("nginx:", 1, "the destination is empty"),
        ("nginx: [a.io/x, '']", 1, "the destination is empty"),
        ("nginx: [[a.io/x]]", 1, "a list, where one text is wanted"),
        ("nginx: ${UNSET}/x", 1, "the environment variable UNSET is not set"),
        ("nginx: $EMPTY", 1, "“$EMPTY” is not the name of an image once its variables have their values"),
        ("nginx: r.io/${", 1, "a ${ that is not followed by a name and }"),
        ("- nginx", 1, "a list, where keys with values are wanted"),
        ("nginx", 1, "a single value, where keys with values are wanted"),
        ("{}", None, "there is no rule in it: nothing to copy"),
        ("", None, "the file is empty"),
        ("auth: {}\nimages: {}", 1, "the file holds both `auth` and `images`"),
        ("nginx: r.io/x\n\tredis: r.io/y", 2, "not YAML: a tab (column 1)"),
    ],
)
def test_mistakes_in_images(write, text, line, what):
    assert [(a, c) for a, _, c in problems_of({"EMPTY": ""}, images=write("i.yaml", text))] == [(line, what)]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"\xff\xfen\0", None, "the file is UTF-16 or UTF-32"),
        (b"nginx: x\n\0", 2, "the file is binary, with a NUL byte"),
        (b"nginx: x\n\xe9: y", 2, "the file is not UTF-8"),
        (b"\x1f\x8b\x08\x00", 1, "the file is binary, with a NUL byte"),
    ],
)
def test_what_is_no_text(write, content, line, what):
    assert problems_of(images=write("i.yaml", content)) == [(line, None, what)]


def test_a_byte_order_mark_does_no_harm(write):
    configuration = load_configuration(images=write("i.yaml", b"\xef\xbb\xbfnginx:1: r.io/x\r\n"), environ={})
    assert rules_of(configuration) == ["docker.io/library/nginx:1 -> r.io/x:1"]


def test_files_that_cannot_be_read(tmp_path, write, monkeypatch):
    there = write("there.yaml", "nginx: r.io/x")
    assert problems_of(images=str(tmp_path / "gone.yaml")) == [(None, None, "the file does not exist")]
    assert problems_of(images=f"{there}/x.yaml") == [(None, None, "the file does not exist")]
    assert problems_of(images=str(tmp_path)) == [(None, None, "a directory, where a file is wanted")]
    assert problems_of(images="a\0b") == [(None, None, "this cannot be the name of a file")]
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    [(_, _, what)] = problems_of(images=str(loop))
    assert what.startswith("the file cannot be read: ")

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert problems_of(images=there) == [(None, None, "the file may not be read by this user")]


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    # A hole costs no disk; reading it would be refused as binary instead.
    assert problems_of(images=str(large)) == [(None, None, "the file has more than 16.0 MiB")]


def test_a_pipe_is_read_once_and_bounded(tmp_path, write):
    pipe = tmp_path / "63"
    os.mkfifo(pipe)
    content = b'{"version": 2, "rules": [], "registries": {}}'
    feeder = threading.Thread(target=pipe.write_bytes, args=[content], daemon=True)
    feeder.start()
    assert problems_of(auth=str(pipe), images=str(pipe)) == [
        (None, None, "there is no rule in it: nothing to copy"),
    ]
    feeder.join()


def test_a_pipe_that_nobody_writes_into_is_given_up(tmp_path):
    pipe = tmp_path / "forgotten"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match=r"nothing was written into this pipe for 0\.05 s"):
        read_file(str(pipe), pipe_timeout_s=0.05)


def test_without_a_known_ending_the_content_decides(write):
    for text in ('{"nginx:1": "r.io/x"}', ' \n{\t"nginx:1": "r.io/x"}', "nginx:1: r.io/x", "# yaml\nnginx:1: r.io/x"):
        configuration = load_configuration(images=write("list.txt", text), environ={})
        assert rules_of(configuration) == ["docker.io/library/nginx:1 -> r.io/x:1"]


def test_what_follows_the_first_document_is_a_warning_and_in_our_format_an_error(write):
    configuration = load_configuration(images=write("i.yaml", "nginx: r.io/x\n---\nredis: r.io/y\n"), environ={})
    assert [(w.line, w.what) for w in configuration.warnings] == [(2, "what follows the first document is not read")]
    own = write("own.json", '{"version": 2, "rules": [{"source": "a:1", "destination": "r.io/x"}]} {}')
    assert problems_of(config=own) == [(1, None, "what follows the first document is not read")]


def test_which_files_belong_together(write):
    images = write("i.yaml", "nginx: r.io/x")
    for files in ({}, {"auth": images}, {"config": images, "images": images}, {"config": images, "auth": images}):
        with pytest.raises(ConfigurationError) as caught:
            load_configuration(**files, environ={})
        assert caught.value.hint


def test_the_number_of_problems_is_bounded(write):
    images = write("i.yaml", "".join(f"nginx{i}: ''\n" for i in range(MAX_PROBLEMS + 50)))
    problems = problems_of(images=images)
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == (None, None, "… and 50 more")


def test_warnings_are_told_beside_errors(write):
    auth = write("auth.yaml", "a.io: {usernam: x}")
    found = problems_of(auth=auth, images=write("i.yaml", "nginx: ''"))
    assert found[-1] == (1, "a.io › usernam", "warning: unknown key, it has no effect")


def test_a_registry_alone_as_a_source_is_a_warning(write):
    configuration = load_configuration(images=write("i.yaml", "quay.io: r.io/x"), environ={})
    assert configuration.warnings[0].what == "“quay.io” means docker.io/library/quay.io"


# --- No secrets

SECRETS = [
    ("a.io: {username: me, password: 'hunter2$secret'}", "auth.yaml"),
    ("a.io: {username: me, password: '$hunter2'}", "auth.yaml"),
    ("a.io: {username: me, password: 'hunter2${'}", "auth.yaml"),
    ("a.io: {username: me, password: 'a${hunter2}'}", "auth.yaml"),
    ("a.io: {username: me, password:hunter2}", "auth.yaml"),
    ("a.io: {username: me, password: [hunter2]}", "auth.yaml"),
    ("a.io: {username: me, password: {hunter2}}", "auth.yaml"),
    ("a.io:\nusername: me\npassword: {hunter2}\n", "auth.yaml"),
    ("a.io: {username: me, password: *hunter2}", "auth.yaml"),
    ("a.io:\n  username: me\n  password: @hunter2\n", "auth.yaml"),
    ("a.io:\n  username: me\n  password: hunter2: x\n", "auth.yaml"),
    ("a.io:\n  username: me\n  password:hunter2\n", "auth.yaml"),
    ("a.io: me:hunter2", "auth.yaml"),
    ("'me:hunter2@a.io': {usernam: x}", "auth.yaml"),
    ("'https://me:hunter2@a.io': {usernam: [}", "auth.yaml"),
    ('{"a.io": {"username": "me", "password": "hunter2\\q"}}', "auth.json"),
    ('{"a.io": {"username": "me", "password": hunter2}}', "auth.json"),
    ("'me:hunter2@a.io/x': r.io/x:1,2", "images.yaml"),
    ("nginx: 'me:hunter2@r.io/x'", "images.yaml"),
    ("nginx: 'https://me:hunter2@r.io/x'", "images.yaml"),
    ("nginx: $TOKEN/x", "images.yaml"),
]


@pytest.mark.parametrize(("text", "name"), SECRETS)
def test_no_problem_holds_a_secret(write, text, name):
    role = "auth" if name.startswith("auth") else "images"
    files = {"images": write("i.yaml", "nginx: ''"), role: write(name, text)}
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(**files, environ={"TOKEN": "me:hunter2@r.io"})
    assert "hunter2" not in f"{caught.value} {caught.value.problems}"


@pytest.mark.parametrize(
    ("mode", "auth", "warned"),
    [
        (0o600, "quay.io: {username: me, password: hunter2}", None),
        (0o640, "quay.io: {username: me, password: hunter2}", "others on this machine may read it (mode 0640)"),
        (0o620, "quay.io: {username: me, password: hunter2}", "others on this machine may change it (mode 0620)"),
        (0o644, "quay.io: {username: me, identityToken: hunter2}", "others on this machine may read it (mode 0644)"),
        (0o664, "quay.io: {username: me, password: '${PASSWORD}'}", None),
        (0o664, "quay.io: {insecure: true}", None),
        (0o666, "quay.io: {username: me, password: '${PASSWORD}'}", "everybody on this machine may change it"),
    ],
)
def test_a_file_that_others_may_read_or_change_is_warned_of_once(tmp_path, mode, auth, warned):
    path = tmp_path / "auth file.yaml"
    path.write_text(auth)
    path.chmod(mode)
    warnings = load_registries(str(path), environ={"PASSWORD": "hunter2"}).warnings
    assert len(warnings) == (warned is not None)
    for warning in warnings:
        assert warned in warning.what
        assert warning.mend.startswith("chmod ")
        assert warning.mend.endswith(f" '{path}'")
        assert "hunter2" not in str(warning)


def test_a_pipe_is_nobody_else_s(tmp_path):
    reader, writer = os.pipe()
    os.write(writer, b"quay.io: {username: me, password: hunter2}")
    os.close(writer)
    try:
        assert load_registries(f"/dev/fd/{reader}", environ={}).warnings == ()
    finally:
        os.close(reader)
