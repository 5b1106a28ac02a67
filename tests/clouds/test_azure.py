"""Azure: a token of Entra through azure-identity, exchanged by the registry; both are a double that speaks TLS."""

from __future__ import annotations

import os

import pytest

from image_syncer.config.registry_book import CloudSettings
from image_syncer.credentials import CredentialError
from support.certificates import make_certificates
from support.cloud_doubles import Entra, ask_for, serving


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def entra(certificates, machine):
    with serving(Entra(), certificates.server_context()) as double:
        machine.setenv("AZURE_AUTHORITY_HOST", double.url)
        machine.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
        machine.setenv("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555")
        machine.setenv("AZURE_CLIENT_ID", "66666666-7777-8888-9999-000000000000")
        machine.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
        yield double


def ask(entra):
    return ask_for("contoso.azurecr.io", CloudSettings(endpoint=entra.url))


def test_a_service_principal(entra, machine):
    machine.setenv("AZURE_CLIENT_SECRET", entra.secret)
    answer = ask(entra)
    assert answer.credential.identity_token.count(".") == 2
    assert answer.credential.password == ""
    assert answer.lasts_s == pytest.approx(0.8 * 10800, abs=60)
    assert answer.source == "Azure (EnvironmentCredential)"
    exchange = entra.forms[-1]
    assert (exchange["grant_type"], exchange["service"]) == ("access_token", "contoso.azurecr.io")
    assert exchange["tenant"] == os.environ["AZURE_TENANT_ID"]


def test_the_workload_identity_of_a_pod(entra, machine, tmp_path):
    token = tmp_path / "token"
    token.write_text(entra.federated)
    machine.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    assert ask(entra).source == "Azure (WorkloadIdentityCredential)"
    assert entra.forms[0]["client_assertion"] == entra.federated


def test_a_wrong_secret_is_told_in_the_words_of_entra(entra, machine):
    machine.setenv("AZURE_CLIENT_SECRET", "wrong-secret")
    with pytest.raises(CredentialError) as caught:
        ask(entra)
    assert "AADSTS7000215: Invalid client secret provided" in caught.value.message
    assert "wrong-secret" not in str(caught.value)


def test_a_registry_where_the_identity_has_no_role(entra, machine):
    machine.setenv("AZURE_CLIENT_SECRET", entra.secret)
    entra.refuses_exchange = True
    with pytest.raises(CredentialError, match="status 401") as caught:
        ask(entra)
    assert "AcrPull" in str(caught.value.hint)
    assert "token-of-entra" not in str(caught.value)


def test_without_an_identity_it_is_anonymous(entra, machine):
    machine.delenv("AZURE_CLIENT_ID")
    machine.delenv("AZURE_TENANT_ID")
    machine.setenv("AZURE_TOKEN_CREDENTIALS", "dev")  # the metadata of a machine is not asked: it has one address only
    assert ask(entra) == (None, "anonymous (Azure: no identity there was found on this machine)", None)
    assert entra.forms == []


def test_the_authority_of_the_registrys_entry_is_trusted_there(entra, machine, tmp_path):
    machine.setenv("AZURE_CLIENT_SECRET", entra.secret)
    own = make_certificates(tmp_path)
    with serving(Entra(), own.server_context()) as registry:
        settings = CloudSettings(endpoint=registry.url)
        with pytest.raises(CredentialError, match="certificate verify failed"):
            ask_for("contoso.azurecr.io", settings)
        answer = ask_for("contoso.azurecr.io", settings, ca_file=str(own.authority))
    assert answer.credential.identity_token.count(".") == 2
