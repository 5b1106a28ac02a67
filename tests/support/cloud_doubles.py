"""Doubles of clouds' token services, each on loopback in a thread: what they are asked they check, and keep.

Amazon ECR (private) and STS are moto's.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import threading
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from aiohttp import web

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.credentials.clouds import CloudSource
from image_syncer.oci import Repository

if TYPE_CHECKING:
    import ssl

    from image_syncer.config.registry_book import CloudSettings
    from image_syncer.registry import Credential


class Answer(NamedTuple):
    """What was found for a registry, and for how many seconds it is good."""

    credential: Credential | None
    source: str
    lasts_s: float | None


def ask_for(registry: str, cloud: CloudSettings | None = None, **fields: Any) -> Answer:
    """What clouds say for `registry` to a machine with this process's environment."""
    book = RegistryBook([RegistryEntry(registry, cloud=cloud, **fields)])
    found = CloudSource(dict(os.environ)).find(Repository(registry, "team/app"), book)
    assert found is not None
    lasts_s = None if found.good_until_s is None else found.good_until_s - found.learnt_at_s
    return Answer(found.credential, found.source, lasts_s)


@dataclass
class Double:
    """A server with one handler for everything. `asked` has method and path of each request, in their order."""

    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return await self.answer(request)


@contextmanager
def serving(double: Double, tls: ssl.SSLContext | None = None) -> Iterator[Any]:
    """`double`, served until the block is left; its `url` says where."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(_serve(double, tls, started),), daemon=True)
    thread.start()
    loop, ended, port = started.result(30)
    double.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield double
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(30)


async def _serve(double: Double, tls: ssl.SSLContext | None, started: Future[Any]) -> None:
    ended = asyncio.Event()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", double.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        started.set_result((asyncio.get_running_loop(), ended, runner.addresses[0][1]))
        await ended.wait()
    finally:
        await runner.cleanup()


@contextmanager
def aws_double() -> Iterator[str]:
    """The address of a moto server, with nothing in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@dataclass
class Ecr(Double, Mapping[str, str]):
    """The API of ECR, private or public (JSON 1.1): gives tokens that live `lives_s` seconds, and refuses with `error`
    where it is set. `passwords` are those that were given, `targets` the actions that were asked for. As a mapping of
    users it is what a registry lets in: "AWS" with the newest password, for as long as that lives.
    """

    lives_s: float = 43200.0
    error: tuple[int, str, str] | None = None
    targets: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)
    is_public: bool = False
    given_at: float = float("-inf")
    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __getitem__(self, user: str) -> str:
        if user != "AWS":
            raise KeyError(user)
        return self.passwords[-1] if time.monotonic() < self.given_at + self.lives_s else "none is good"

    def __iter__(self) -> Iterator[str]:
        return iter(("AWS",))

    def __len__(self) -> int:
        return 1

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.targets.append(request.headers["X-Amz-Target"].rpartition(".")[2])
        assert "AWS4-HMAC-SHA256" in request.headers["Authorization"]
        if self.error is not None:
            status, kind, message = self.error
            return _json({"__type": kind, "message": message}, status, "application/x-amz-json-1.1")
        if self.targets[-1] != "GetAuthorizationToken":
            return self._answer_api(self.targets[-1], await request.json())
        password = f"password-{len(self.passwords)}"
        self.passwords.append(password)
        self.given_at = time.monotonic()
        data = {
            "authorizationToken": b64encode(f"AWS:{password}".encode()).decode(),
            "expiresAt": time.time() + self.lives_s,
        }
        body = {"authorizationData": data if self.is_public else [data]}
        return _json(body, 200, "application/x-amz-json-1.1")

    def _answer_api(self, action: str, said: dict[str, Any]) -> web.Response:
        """Repositories, and layers: a repository has those whose digest has no zero in it."""
        name = said["repositoryNames"][0] if action == "DescribeRepositories" else said["repositoryName"]
        kind = None
        if action == "CreateRepository":
            kind = "RepositoryAlreadyExistsException" if name in self.repositories else None
            self.repositories.setdefault(name, said)
        elif name not in self.repositories:
            kind = "RepositoryNotFoundException"
        if kind is not None:
            return _json({"__type": kind, "message": name}, 400, "application/x-amz-json-1.1")
        layers = [
            {"layerDigest": digest, "layerAvailability": "UNAVAILABLE" if "0" in digest else "AVAILABLE"}
            for digest in said.get("layerDigests", ())
        ]
        return _json({"layers": layers, "failures": []}, 200, "application/x-amz-json-1.1")


@dataclass
class InstanceMetadata(Double):
    """AWS's instance metadata (version 2): a role with an access key."""

    role: str = "copier"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/latest/api/token":
            assert request.method == "PUT"
            return web.Response(text="metadata-token")
        assert request.headers["x-aws-ec2-metadata-token"] == "metadata-token"
        if request.path.endswith("/security-credentials/"):
            return web.Response(text=self.role)
        if not request.path.endswith(f"/{self.role}"):
            return web.Response(status=404)
        return _json(
            {
                "Code": "Success",
                "AccessKeyId": "ASIAINSTANCE",
                "SecretAccessKey": "secret",
                "Token": "session",
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)),
            }
        )


@dataclass
class GoogleTokens(Double):
    """Google's OAuth2 token endpoint (RFC 7523: a JWT that the key of the service account has signed, which is
    checked), its security token service (RFC 8693), and the metadata server.
    """

    public_key: Any = None
    lives_s: int = 3600
    subject_token: str = ""
    refused: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        flavor = {"Metadata-Flavor": "Google"}
        if request.path == "/":
            assert request.headers["Metadata-Flavor"] == "Google"
            return web.Response(text="computeMetadata/\n", headers=flavor)
        if request.path.startswith("/computeMetadata/v1/instance/service-accounts/"):
            assert request.headers["Metadata-Flavor"] == "Google"
            if request.path.endswith("/token"):
                data = {"access_token": "token-of-the-machine", "expires_in": self.lives_s, "token_type": "Bearer"}
                return _json(data, headers=flavor)
            return _json({"email": "machine@project.iam", "scopes": ["cloud"], "aliases": ["default"]}, headers=flavor)
        form = await request.post()
        if self.refused:
            return _json({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        if request.path == "/sts":
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
            assert form["subject_token"] == self.subject_token
            data = {"access_token": "token-of-the-pod", "expires_in": self.lives_s, "token_type": "Bearer"}
            return _json({**data, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
        assert request.path == "/token"
        assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        self._check(str(form["assertion"]))
        return _json({"access_token": "token-of-the-account", "expires_in": self.lives_s, "token_type": "Bearer"})

    def _check(self, assertion: str) -> None:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        signed, _, signature = assertion.rpartition(".")
        self.public_key.verify(_unpacked(signature), signed.encode(), PKCS1v15(), SHA256())
        claims = json.loads(_unpacked(signed.partition(".")[2]))
        assert claims["iss"] == "copier@project.iam.gserviceaccount.com"
        assert claims["aud"] == "https://oauth2.googleapis.com/token"  # whatever the address of the service
        assert "cloud-platform" in claims["scope"]


@dataclass
class Entra(Double):
    """Microsoft Entra and a container registry in one: tokens for client secrets and for federated tokens, and
    `/oauth2/exchange`, which takes the tokens that were given and no other.
    """

    lives_s: float = 10800.0
    secret: str = "client-secret"
    federated: str = "token-of-the-pod"
    access_token: str = "token-of-entra"
    refuses_exchange: bool = False
    forms: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        tenant = request.path.split("/")[1]
        if request.path.endswith("/.well-known/openid-configuration"):
            base = f"{self.url}/{tenant}"
            return _json(
                {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                }
            )
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if request.path.endswith("/oauth2/v2.0/token"):
            if form.get("client_secret") != self.secret and form.get("client_assertion") != self.federated:
                said = "AADSTS7000215: Invalid client secret provided."
                return _json({"error": "invalid_client", "error_description": said}, 401)
            return _json({"token_type": "Bearer", "expires_in": 3600, "access_token": self.access_token})
        if request.path == "/oauth2/exchange":
            if self.refuses_exchange or form["access_token"] != self.access_token:
                return _json({"errors": [{"code": "UNAUTHORIZED"}]}, 401)
            now = time.time()
            return _json({"refresh_token": _jwt({"iat": now, "exp": now + self.lives_s})})
        return web.Response(status=404)


@dataclass
class Aliyun(Double):
    """Alibaba Cloud: the API of its container registry with its signatures checked, STS, and an instance's metadata."""

    secret: str = "access-key-secret"
    lives_s: float = 3600.0
    names: dict[str, str] = field(default_factory=lambda: {"team": "cri-1234"})
    actions: list[str] = field(default_factory=list)
    session_tokens: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/latest/"):
            return self._metadata(request)
        query = dict(request.query) or {name: str(value) for name, value in (await request.post()).items()}
        self.actions.append(query["Action"])
        if query["Action"] == "AssumeRoleWithOIDC":
            assert query["OIDCToken"] == "token-of-the-pod"
            return _json({"Credentials": self._access("STS.pod")})
        signature = query.pop("Signature")
        self.session_tokens.append(query.get("SecurityToken"))
        if signature != self._sign(query):
            return _json({"Code": "SignatureDoesNotMatch", "Message": "the string to sign was …"}, 400)
        if query["Action"] == "ListInstance":
            found = [
                {"InstanceName": name, "InstanceId": identity}
                for name, identity in self.names.items()
                if name.startswith(query["InstanceName"])
            ]
            return _json({"Code": "success", "IsSuccess": True, "Instances": found, "TotalCount": len(found)})
        assert query["Action"] == "GetAuthorizationToken"
        if query["InstanceId"] not in self.names.values():
            return _json({"Code": "INSTANCE_NOT_EXIST", "IsSuccess": False})
        return _json(
            {
                "Code": "success",
                "IsSuccess": True,
                "TempUsername": "cr_temp_user",
                "AuthorizationToken": "temporary",
                "ExpireTime": int((time.time() + self.lives_s) * 1000),
            }
        )

    def _metadata(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/latest/api/token":
            return web.Response(text="metadata-token")
        assert request.headers["X-aliyun-ecs-metadata-token"] == "metadata-token"
        if request.path.endswith("/security-credentials/"):
            return web.Response(text="copier")
        return _json({"Code": "Success", **self._access("STS.instance")})

    def _access(self, key: str) -> dict[str, str]:
        return {"AccessKeyId": key, "AccessKeySecret": self.secret, "SecurityToken": "session"}

    def _sign(self, query: dict[str, str]) -> str:
        """help.aliyun.com/document_detail/315526.html, written down once more."""
        pairs = [f"{quote(name, safe='~')}={quote(query[name], safe='~')}" for name in sorted(query)]
        text = "GET&%2F&" + quote("&".join(pairs), safe="~")
        return b64encode(hmac.digest(f"{self.secret}&".encode(), text.encode(), hashlib.sha1)).decode()


def _json(
    data: object, status: int = 200, content_type: str = "application/json", headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), status=status, content_type=content_type, headers=headers)


def _jwt(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none"}, claims, {})
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def _unpacked(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
