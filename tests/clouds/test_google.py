"""Google's registries: application default credentials of each kind, against doubles of Google's token services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from image_syncer.credentials import CredentialSource
from image_syncer.registry import Credential
from support.cloud_doubles import GoogleTokens, ask_for, serving

PATHS = f"{Path(__file__).parents[2] / 'engine'}:{Path(__file__).parents[1]}"
HOSTS = ("europe-west3-docker.pkg.dev", "gcr.io")
ASK = """
from support.cloud_doubles import ask_for
credential, source, lasts_s = ask_for("gcr.io")
print(credential and (credential.username, credential.password), source, round(lasts_s or 0))
"""


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def google(key):
    with serving(GoogleTokens(public_key=key.public_key())) as double:
        yield double


@pytest.fixture
def account(key, google, machine, tmp_path):
    """The file of a service account's key, which the environment names."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path = tmp_path / "key.json"
    fields = {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": pem,
        "client_email": "copier@project.iam.gserviceaccount.com",
        "token_uri": f"{google.url}/token",
    }
    path.write_text(json.dumps(fields))
    machine.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    return path


def ask(registry="gcr.io"):
    return ask_for(registry)


@pytest.mark.parametrize("host", HOSTS)
def test_the_key_of_a_service_account_is_exchanged_for_a_token(host, account, google):
    answer = ask(host)
    assert answer.credential == Credential("oauth2accesstoken", "token-of-the-account")
    assert answer.lasts_s == pytest.approx(0.8 * 3600, abs=60)
    assert answer.source == f"Google Cloud ({account})"
    assert google.asked == ["POST /token"]


def test_without_the_extra_the_key_is_the_password(account, google, machine):
    machine.setitem(sys.modules, "google.auth.exceptions", None)
    answer = ask()
    assert answer.credential == Credential("_json_key", account.read_text())
    assert (answer.lasts_s, google.asked) == (None, [])


def test_without_the_extra_nobody_looks_whether_this_is_a_machine_of_google(google, machine):
    machine.setitem(sys.modules, "google.auth.exceptions", None)
    machine.setenv("NO_GCE_CHECK", "false")
    machine.setenv("GCE_METADATA_HOST", google.url.removeprefix("http://"))
    assert ask() == (None, "anonymous (Google Cloud: pip install 'image-syncer[google]' would ask it)", None)
    assert google.asked == []


def test_without_the_extra_another_file_is_of_no_use(machine, tmp_path):
    path = tmp_path / "user.json"
    path.write_text('{"type": "authorized_user"}')
    machine.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    machine.setitem(sys.modules, "google.auth.exceptions", None)
    assert ask() == (None, "anonymous (Google Cloud: pip install 'image-syncer[google]' would ask it)", None)


def test_workload_identity_federation(google, machine, tmp_path):
    token = tmp_path / "token"
    token.write_text("token-of-the-cluster")
    google.subject_token = "token-of-the-cluster"
    path = tmp_path / "federation.json"
    fields = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.url}/sts",
        "credential_source": {"file": str(token)},
    }
    path.write_text(json.dumps(fields))
    machine.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    answer = ask()
    assert answer.credential is not None, answer.source
    assert answer.credential == Credential("oauth2accesstoken", "token-of-the-pod")


def test_the_file_that_gcloud_leaves(account, machine, tmp_path):
    folder = Path(os.environ["HOME"]) / ".config" / "gcloud"
    folder.mkdir(parents=True)
    account.rename(folder / "application_default_credentials.json")
    machine.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    assert ask().credential.password == "token-of-the-account"


def test_a_token_service_that_refuses_leaves_public_images_readable_and_says_why(account, google):
    google.refused = True
    answer = ask()
    assert answer.credential is None
    assert "invalid_grant" in answer.source
    assert "PRIVATE KEY" not in answer.source


def test_a_file_that_is_none_is_told(machine, tmp_path):
    machine.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    assert "gone.json" in ask().source


@pytest.mark.extended
def test_the_metadata_server(google, machine):
    """In a process of its own: google-auth reads the address when it is imported."""
    environ = {**os.environ, "PYTHONPATH": PATHS, "NO_GCE_CHECK": "false"}
    environ["GCE_METADATA_HOST"] = google.url.removeprefix("http://")
    environ["GCE_METADATA_IP"] = environ["GCE_METADATA_HOST"]
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout == ("('oauth2accesstoken', 'token-of-the-machine') Google Cloud (metadata server) 2880\n")


def test_off_the_cloud_nobody_is_found_in_time(machine):
    machine.setenv("NO_GCE_CHECK", "false")
    machine.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    began = time.monotonic()
    assert ask() == (None, "anonymous (Google Cloud: no identity there was found on this machine)", None)
    assert time.monotonic() - began < 15


def test_another_server_there_is_no_metadata_server(google, machine):
    machine.setenv("NO_GCE_CHECK", "false")
    machine.setenv("GCE_METADATA_HOST", f"{google.url.removeprefix('http://')}/elsewhere")
    assert ask().credential is None


def test_what_would_be_asked(tmp_path):
    from image_syncer.config import RegistryBook
    from image_syncer.oci import parse_repository

    said = CredentialSource({"HOME": str(tmp_path)}).describe(parse_repository("gcr.io/a/b"), RegistryBook())
    assert said.source == "Google Cloud, if this machine has an identity there"
