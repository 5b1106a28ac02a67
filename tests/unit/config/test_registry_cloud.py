from __future__ import annotations

import pytest

from image_syncer.config.loader import load_registries
from image_syncer.config.registry_book import CloudSettings
from image_syncer.errors import ConfigurationError


def load(tmp_path, text):
    path = tmp_path / "auth.yaml"
    path.write_text(text, encoding="utf-8")
    return load_registries(str(path), environ={})


def read(tmp_path, text):
    return load(tmp_path, text).registries


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("aws", CloudSettings("aws")),
        ("Google", CloudSettings("google")),
        ("off", CloudSettings("off")),
        ("false", CloudSettings("off")),
        ("", None),
        ("{region: eu-west-1}", CloudSettings(region="eu-west-1")),
        ("{name: off}", CloudSettings("off")),
        (
            "{name: aliyun, region: cn-hangzhou, instance: cri-1, endpoint: https://cr-vpc.cn-hangzhou.aliyuncs.com}",
            CloudSettings("aliyun", "cn-hangzhou", None, "cri-1", "https://cr-vpc.cn-hangzhou.aliyuncs.com"),
        ),
        ("{name: aws, profile: prod}", CloudSettings("aws", profile="prod")),
    ],
)
def test_a_name_or_a_mapping(tmp_path, text, settings):
    book = read(tmp_path, f"r.example.com: {{cloud: {text}}}\n" if text else "r.example.com: {cloud: }\n")
    assert book.host_settings("r.example.com").cloud == settings


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        ("amazon", "cloud", "“amazon” is no cloud that is known"),
        ("{name: azur}", "cloud › name", "“azur” is no cloud that is known"),
        ("{endpoint: cr.example.com}", "cloud › endpoint", "“cr.example.com” is no address"),
        ("[aws]", "cloud", "a list, where one text is wanted"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, key, what):
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, f"r.example.com:\n  cloud: {text}\n")
    [problem] = caught.value.problems
    assert (problem.line, problem.key) == (2, f"r.example.com › {key}")
    assert problem.what.startswith(what)


def test_the_first_entry_of_a_host_that_says_something_counts(tmp_path):
    book = read(tmp_path, "r.example.com/a: {}\nr.example.com/b: {cloud: aws}\nr.example.com/c: {cloud: off}\n")
    assert book.host_settings("r.example.com").cloud == CloudSettings("aws")


@pytest.mark.parametrize(
    ("endpoint", "warnings"),
    [
        ("http://cr.example.com", 1),
        ("https://cr.example.com", 0),
        ("http://127.0.0.1:5000", 0),
        ("http://localhost.e", 1),
    ],
)
def test_an_address_without_tls_is_warned_of(tmp_path, endpoint, warnings):
    loaded = load(tmp_path, f"r.example.com: {{cloud: {{name: azure, endpoint: '{endpoint}'}}}}\n")
    assert [problem.key for problem in loaded.warnings] == ["r.example.com › cloud › endpoint"] * warnings
