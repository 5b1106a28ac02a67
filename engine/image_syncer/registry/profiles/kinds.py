"""The kinds of registries as data: where they are, how they are recognised, and what they do in their own way."""

from __future__ import annotations

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import (
    MIB,
    READS,
    WRITES,
    Creation,
    Limit,
    Listing,
    Mark,
    Meaning,
    Mounts,
    Profile,
    Quota,
    Sign,
)
from image_syncer.values import replace

# Alibaba Cloud Container Registry, personal and enterprise editions: alibabacloud.com/help/en/acr.

ACR_ALIYUN = Profile(
    "acr-aliyun",
    "Alibaba Cloud Container Registry",
    hosts=("registry.*.aliyuncs.com", "registry-*.*.aliyuncs.com", "*.cr.aliyuncs.com", "registry.aliyuncs.com"),
    marks=(Mark("WWW-Authenticate", '*realm="https://dockerauth*.aliyuncs.com/*'),),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The namespace {project} does not exist, or does not create repositories at a push: create it in the "
            "console, or turn on that its repositories are created automatically.",
            codes=frozenset({"NAME_UNKNOWN"}),
            words=("namespace not exist", "namespace does not exist", "repository does not exist"),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and its versions are immutable: choose another tag, "
            "or allow changes in the repository's settings.",
            words=("immutable", "image version is immutable"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account may not do this with {repository}, or it is in a namespace that the account does not see. The "
            "password is that of the registry (access credential), not that of the console.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
        ),
    ),
)


# Azure Container Registry: learn.microsoft.com/azure/container-registry.

ACR_AZURE = Profile(
    "acr-azure",
    "Azure Container Registry",
    hosts=("*.azurecr.io", "*.azurecr.cn", "*.azurecr.us"),
    marks=(Mark("WWW-Authenticate", '*service="*.azurecr.*"*'),),
    list_actions=("pull", "metadata_read"),
    keeps_partial=False,
    piece_bytes=4 * MIB,
    signs=(
        Sign(
            Meaning.IMMUTABLE,
            "The tag or manifest at {repository} is locked against changes: choose another tag, or unlock it (az acr "
            "repository update --write-enabled true).",
            codes=frozenset({"UNSUPPORTED"}),
            words=("disallowed", "is locked", "write-disabled", "writeenabled"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The registry lets only known networks in: allow this machine's address in its firewall, or use its "
            "private endpoint.",
            statuses=frozenset({403}),
            words=("client with ip", "is not allowed access"),
        ),
        Sign(
            Meaning.WAIT,
            "The registry allows so many reads and writes a minute, by its tier: a higher tier allows more.",
            codes=frozenset({"TOOMANYREQUESTS"}),
            words=("toomanyrequests",),
        ),
    ),
)


# JFrog Artifactory: jfrog.com/help/r/jfrog-artifactory-documentation.

ARTIFACTORY = Profile(
    "artifactory",
    "JFrog Artifactory",
    hosts=("*.jfrog.io", "*.jfrog.com"),
    marks=(
        Mark("X-JFrog-Version"),
        Mark("X-Artifactory-Id"),
        Mark("X-Artifactory-Node-Id"),
        Mark("Server", "artifactory/*"),
        Mark("WWW-Authenticate", '*realm="artifactory realm"*'),
    ),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The repository {project} does not exist in Artifactory, or is no Docker repository: create a local one, "
            "or give a virtual one a default deployment repository.",
            statuses=frozenset({400, 404, 405}),
            codes=frozenset({"NAME_UNKNOWN"}),
            words=("unsupported docker v2 repository request", "no default deployment repository", "is not a docker"),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the account may not overwrite it: it needs the "
            "permission to delete there; or choose another tag.",
            statuses=frozenset({403}),
            codes=frozenset({"MANIFEST_INVALID"}),
            words=("delete/overwrite", "not enough permissions to overwrite", "needs delete permission"),
            operations=WRITES,
        ),
    ),
)


# Registries of the distribution project (`registry:2` and `registry:3`; distribution.github.io), and Zot.

_OPEN_SIGNS = (
    Sign(
        Meaning.NOT_ALLOWED,
        "The registry is a mirror of another one (proxy), or read-only for its maintenance: push to the other one.",
        statuses=frozenset({405}),
        codes=frozenset({"UNSUPPORTED"}),
        operations=WRITES,
    ),
)

REGISTRY2 = Profile("registry2", "distribution 2.x", mounts_from_itself=True, keeps_partial=False, signs=_OPEN_SIGNS)
REGISTRY3 = Profile("registry3", "distribution 3.x", mounts_from_itself=True, keeps_partial=False, signs=_OPEN_SIGNS)
ZOT = Profile("zot", "Zot")  # zotregistry.dev


# Amazon ECR, private and public: docs.aws.amazon.com/AmazonECR/latest/userguide and …/latest/public.

_ECR_SIGNS = (
    Sign(
        Meaning.CREATE_FIRST,
        "The repository {repository} does not exist, and a push does not create it: create it (aws ecr "
        "create-repository), or set create_repositories: true for {registry}.",
        statuses=frozenset({404}),
        codes=frozenset({"NAME_UNKNOWN"}),
        operations=WRITES,
    ),
    Sign(
        Meaning.IMMUTABLE,
        "The tag exists at {repository} with other content, and its tags are immutable: choose another tag, or make "
        "them mutable there.",
        codes=frozenset({"TAG_INVALID"}),
        words=("tag is immutable", "because the repository is immutable", "imagetagalreadyexists"),
        operations=frozenset({Operation.PUT_MANIFEST}),
    ),
    Sign(
        Meaning.NOT_ALLOWED,
        "The token is no longer valid (they last 12 hours), or belongs to another account or region: get a new one "
        "(aws ecr get-login-password).",
        statuses=frozenset({401, 403}),
        words=("authorization token has expired", "no basic auth credentials"),
    ),
    Sign(
        Meaning.NOT_ALLOWED,
        "A policy of {repository} or of the user does not allow this: ecr:BatchGetImage and "
        "ecr:GetDownloadUrlForLayer are needed to read, ecr:InitiateLayerUpload, ecr:UploadLayerPart, "
        "ecr:CompleteLayerUpload and ecr:PutImage to write.",
        statuses=frozenset({401, 403}),
        words=("is not authorized to perform",),
    ),
    Sign(
        Meaning.WAIT,
        "The account's quota for this action is used up for the moment; it can be raised in Service Quotas.",
        codes=frozenset({"TOOMANYREQUESTS"}),
        words=("rate exceeded", "throttlingexception"),
    ),
    Sign(
        Meaning.FULL,
        "A quota of the account is used up (images of a repository, repositories, or tags of an image): raise it in "
        "Service Quotas, or delete old images.",
        words=("limit exceeded", "limitexceededexception", "exceeded the limit"),
        operations=WRITES,
    ),
)

ECR = Profile(
    "ecr",
    "Amazon ECR",
    hosts=(
        "*.dkr.ecr.*.amazonaws.com",
        "*.dkr.ecr-fips.*.amazonaws.com",
        "*.dkr.ecr.*.amazonaws.com.cn",
        "*.dkr-ecr.*.on.aws",
        "*.dkr-ecr-fips.*.on.aws",
        "*.dkr-ecr.*.on.amazonwebservices.com.cn",
    ),
    marks=(Mark("WWW-Authenticate", '*service="ecr.amazonaws.com"*'),),
    creation=Creation.ECR_API,
    tells_many_blobs=True,
    mounts=Mounts.NOWHERE,
    mounts_from_itself=False,
    keeps_partial=False,
    cancels_uploads=False,
    piece_bytes=10 * MIB,
    least_piece_bytes=5 * MIB,
    limits=(
        Limit(frozenset({Operation.PUT_MANIFEST}), 10.0),
        Limit(frozenset({Operation.START_UPLOAD}), 100.0),
        Limit(frozenset({Operation.PUT_UPLOAD}), 100.0),
    ),
    signs=_ECR_SIGNS,
)

ECR_PUBLIC = replace(
    ECR,
    name="ecr-public",
    title="Amazon ECR Public",
    hosts=("public.ecr.aws", "ecr-public.aws.com"),
    marks=(Mark("WWW-Authenticate", '*service="public.ecr.aws"*'),),
    limits=tuple(
        Limit(frozenset({operation}), 10.0)
        for operation in (Operation.PUT_MANIFEST, Operation.PUT_UPLOAD, Operation.START_UPLOAD)
    ),
)
"""As the private registries, but with one host and other limits."""


# Google Artifact Registry, and Container Registry, whose host names it serves: cloud.google.com/artifact-registry.

GAR = Profile(
    "gar",
    "Google Artifact Registry",
    hosts=("*-docker.pkg.dev", "docker.pkg.dev", "gcr.io", "*.gcr.io"),
    takes_pieces=False,
    keeps_partial=False,
    limits=(Limit(WRITES, 300.0),),
    signs=(
        Sign(
            Meaning.CREATE_FIRST,
            "The repository of {repository} does not exist in the project, and a push does not create it: create it "
            "(gcloud artifacts repositories create --repository-format=docker).",
            statuses=frozenset({404}),
            codes=frozenset({"NAME_UNKNOWN"}),
            operations=WRITES,
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and its tags are immutable: choose another tag, or "
            "allow changes there.",
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account has no permission in the project: it needs the role Artifact Registry Reader to read, Writer "
            "to write, and for gcr.io names the right to create the repository at the first push.",
            statuses=frozenset({401, 403}),
            words=("permission", "unauthenticated request"),
        ),
        Sign(
            Meaning.WAIT,
            "The project's quota of requests a minute is used up for the moment; it can be raised in the console.",
            words=("quota exceeded for quota metric", "resource_exhausted"),
        ),
    ),
)


# GitHub Container Registry: docs.github.com/packages.

GHCR = Profile(
    "ghcr",
    "GitHub Container Registry",
    hosts=("ghcr.io", "containers.*.ghe.com", "containers.github.com"),
    marks=(Mark("WWW-Authenticate", '*service="ghcr.io"*'), Mark("X-GitHub-Request-Id")),
    mounts=Mounts.SAME_OWNER,
    keeps_partial=False,
    piece_bytes=4 * MIB,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "The token may not write packages of {project}: it needs the scope write:packages, and for a package that "
            "exists a role that may write to it.",
            statuses=frozenset({401, 403}),
            words=("permission_denied", "token provided does not match expected scopes", "installation not allowed"),
            operations=WRITES,
        ),
    ),
)


# GitLab's container registry: docs.gitlab.com/user/packages/container_registry.

GITLAB = Profile(
    "gitlab",
    "GitLab container registry",
    hosts=("registry.gitlab.com",),
    marks=(
        Mark("Gitlab-Container-Registry-Version"),
        Mark("WWW-Authenticate", '*/jwt/auth",service="container_registry"*'),
    ),
    listing=Listing.GITLAB_API,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "GitLab lists the repositories of a group for an access token that may read its API (read_api) and the "
            "group: give one as the password, and begin the pattern with a group ({registry}/GROUP/**). Those of a "
            "user are never listed: name their repositories.",
            statuses=frozenset({401, 403, 404}),
            operations=frozenset({Operation.LIST_CATALOG}),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "A rule of the project protects the tag at {repository}: choose another tag, or change the rule there.",
            words=("protected", "immutable"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The project of {repository} does not exist, or the account may not do this in it: its path has to be that "
            "of a project, and the account a developer (to write) or reporter (to read) in it.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
        ),
    ),
)


# Harbor: goharbor.io/docs.

HARBOR = Profile(
    "harbor",
    "Harbor",
    hosts=("demo.goharbor.io",),
    marks=(
        Mark("WWW-Authenticate", '*service="harbor-registry"*'),
        Mark("WWW-Authenticate", 'basic realm="harbor"*'),
        Mark("X-Harbor-Csrf-Token"),
    ),
    creation=Creation.HARBOR_API,
    listing=Listing.HARBOR_API,
    signs=(
        Sign(
            Meaning.NOT_ALLOWED,
            "Begin the pattern with a project ({registry}/PROJECT/**), and give the account the right to list "
            "repositories in it; only a system administrator gets the list of all projects.",
            statuses=frozenset({401, 403}),
            operations=frozenset({Operation.LIST_CATALOG}),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and a rule of the project makes it immutable: choose "
            "another tag, or change the rule there.",
            statuses=frozenset({412}),
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "A policy of the project forbids to pull this image (vulnerabilities, or no signature): see it in Harbor's "
            "project settings.",
            statuses=frozenset({412}),
            operations=READS,
        ),
        Sign(
            Meaning.CREATE_FIRST,
            "The project {project} does not exist, and a push does not create it: create it in Harbor, or set "
            "create_repositories: true for {registry}.",
            statuses=frozenset({404}),
            codes=frozenset({"NOT_FOUND", "NAME_UNKNOWN"}),
            operations=WRITES,
        ),
        Sign(
            Meaning.FULL,
            "The project {project} has used up its storage quota: raise it, or delete old images and run garbage "
            "collection.",
            words=("quota", "exceed the configured upper limit"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The project {project} does not exist, or the account may not do this in it: create it (or set "
            "create_repositories: true for {registry}), or make the account a developer (to write) or guest (to read) "
            "of it. A proxy cache project takes no pushes.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"UNAUTHORIZED", "DENIED", "FORBIDDEN", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)


# Docker Hub: docs.docker.com/docker-hub.

HUB = Profile(
    "hub",
    "Docker Hub",
    hosts=("docker.io",),
    api_host="registry-1.docker.io",
    listing=Listing.HUB_API,
    listing_host="hub.docker.com",
    has_catalog=False,
    marks=(Mark("WWW-Authenticate", '*service="registry.docker.io"*'),),
    # Pulls are counted over hours, by GET of manifests; blobs, HEAD and pushes are always accepted. The rate is never
    # reached: the limit makes only other manifests wait after a refused one.
    limits=(Limit(frozenset({Operation.GET_MANIFEST}), 100.0),),
    # docs.docker.com/docker-hub/usage: of an address, and of a personal account; paid ones have none.
    quotas=(
        Quota(frozenset({Operation.GET_MANIFEST}), 100, 6, "without a login"),
        Quota(frozenset({Operation.GET_MANIFEST}), 200, 6, "with a personal account"),
    ),
    signs=(
        Sign(
            Meaning.WAIT,
            "Docker Hub counts the pulls of an account or an address: give a user name and password where there are "
            "none, or wait until the window of the limit has passed.",
            codes=frozenset({"TOOMANYREQUESTS"}),
            words=("toomanyrequests", "pull rate limit"),
        ),
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the repository makes its tags immutable: choose "
            "another tag, or allow changes there.",
            words=("immutable",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account may not write to {repository}, or the name belongs to another account: log in as its owner, "
            "or as a member with the right to write, with an access token that may write.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"DENIED", "UNAUTHORIZED", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)


# Sonatype Nexus Repository: help.sonatype.com/repomanager3.

NEXUS = Profile(
    "nexus",
    "Sonatype Nexus Repository",
    marks=(
        Mark("Server", "nexus/*"),
        Mark("WWW-Authenticate", '*realm="sonatype nexus*'),
    ),
    signs=(
        Sign(
            Meaning.IMMUTABLE,
            "The tag exists at {repository} with other content, and the repository's deployment policy forbids to "
            "change it: choose another tag, or allow redeploys there.",
            words=("redeploy", "does not allow updating"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_TAKEN,
            "A proxy or group repository takes no pushes: name the hosted one (its own port, or path).",
            statuses=frozenset({403, 404, 405}),
            words=("read-only", "read only", "deploying to groups is a pro-licensed feature"),
            operations=WRITES,
        ),
    ),
)


# Quay, at quay.io and by oneself: docs.quay.io, docs.projectquay.io.

QUAY = Profile(
    "quay",
    "Quay",
    hosts=("quay.io",),
    marks=(Mark("WWW-Authenticate", 'bearer realm="*/v2/auth",service="*'),),
    signs=(
        Sign(
            Meaning.WAIT,
            "Quay limits requests of an address: give a user name and password where there are none, or ask for a "
            "higher limit.",
            codes=frozenset({"TOOMANYREQUESTS"}),
            words=("too many requests",),
        ),
        Sign(
            Meaning.FULL,
            "The organization {project} has used up its quota: raise it, or delete old images.",
            words=("quota has been exceeded",),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_TAKEN,
            "Quay does not take a manifest of this type: allow it there (FEATURE_GENERAL_OCI_SUPPORT, "
            "ALLOWED_OCI_ARTIFACT_TYPES).",
            codes=frozenset({"MANIFEST_INVALID"}),
            words=("manifest invalid", "unknown media type", "config.mediatype"),
            operations=WRITES,
        ),
        Sign(
            Meaning.NOT_ALLOWED,
            "The account or robot may not write to {repository}; to create it, it has to be a creator in the "
            "organization {project}.",
            statuses=frozenset({401, 403}),
            codes=frozenset({"UNAUTHORIZED", "DENIED", "INSUFFICIENT_SCOPE"}),
            operations=WRITES,
        ),
    ),
)
