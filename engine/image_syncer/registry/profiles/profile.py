"""A profile: what is special about one kind of registry, as data that generic code asks."""

from __future__ import annotations

from enum import Enum

from image_syncer.registry.message import Operation
from image_syncer.values import Value, repr_without

__all__ = ["Creation", "Limit", "Listing", "Mark", "Meaning", "Mounts", "Profile", "Quota", "Sign"]

MIB = 2**20
READS = frozenset(
    {Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.HEAD_BLOB, Operation.GET_BLOB, Operation.LIST_TAGS}
)
WRITES = frozenset({Operation.START_UPLOAD, Operation.PATCH_UPLOAD, Operation.PUT_UPLOAD, Operation.PUT_MANIFEST})


class Mounts(str, Enum):
    """Between which repositories of a registry a blob can be mounted; the values are the words of the configuration."""

    ANYWHERE = "anywhere"
    SAME_OWNER = "same owner"
    """Where the first component of both names is the same."""
    NOWHERE = "nowhere"

    def realm(self, name: str) -> str:
        """With what the names of the repositories begin from which a blob can be mounted into repository `name`; that
        name itself where it can be from no other.
        """
        if self is Mounts.ANYWHERE:
            return ""
        owner, slash, _ = name.partition("/")
        return f"{owner}/" if self is Mounts.SAME_OWNER and slash else name

    def __str__(self) -> str:
        return self.value


class Creation(Enum):
    """How a repository comes into being that an image is brought to."""

    BY_PUSH = "by a push"
    ECR_API = "by Amazon ECR's API"
    HARBOR_API = "by Harbor's API, as a project"


class Listing(Enum):
    """How the repositories are listed whose names begin with a project or namespace that is known."""

    CATALOG = "by /v2/_catalog"
    HARBOR_API = "by Harbor's API, for each project"
    GITLAB_API = "by GitLab's API, for each group"
    HUB_API = "by Docker Hub's API, for each namespace"


class Meaning(Enum):
    """What a failure means, whatever status it has."""

    WAIT = "wait"
    """Asked too often: the same request will be let through later."""
    CREATE_FIRST = "create it first"
    """The repository, or its project, does not exist, and a push does not create it."""
    IMMUTABLE = "immutable"
    """The tag has other content, which may not be changed."""
    NOT_ALLOWED = "not allowed"
    """The credentials do not allow it, or a policy does not."""
    FULL = "full"
    """There is no room, or a quota is used up."""
    NOT_TAKEN = "not taken"
    """The registry does not take content of this kind, wherever it comes from."""


class Sign(Value, frozen=True):
    """How a registry says what it means: each condition that is given has to hold, and one of `codes` and `words`.

    `codes` are those of the registry (upper case), `words` stand in the body (lower case), `hint` is what a person
    can do about it; "{registry}", "{repository}" and "{project}" (its first component) are filled in.
    """

    meaning: Meaning
    hint: str
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    operations: frozenset[Operation] = frozenset()

    def fits(self, status: int, codes: tuple[str, ...], text: str, operation: Operation) -> bool:
        """Whether an answer with this status, these codes and the body `text` (in lower case) is meant."""
        if self.statuses and status not in self.statuses:
            return False
        if self.operations and operation not in self.operations:
            return False
        if not (self.codes or self.words):
            return True
        return not self.codes.isdisjoint(codes) or any(words in text for words in self.words)


class Mark(Value, frozen=True):
    """What an answer of such a registry has: a field `header` whose value, in lower case, fits the pattern `value`."""

    header: str
    value: str = "*"


class Limit(Value, frozen=True):
    """What the operator publishes: `per_s` requests a second for `operations` together."""

    operations: frozenset[Operation]
    per_s: float

    def bucket(self, registry: str) -> str:
        """The name under which the turns for these operations are given: "registry.example (put manifest)"."""
        return f"{registry} ({', '.join(sorted(operation.value for operation in self.operations))})"


class Quota(Value, frozen=True):
    """What the operator lets an account do over hours: `count` of the `operations` in `hours`; `whose` says which."""

    operations: frozenset[Operation]
    count: int
    hours: float
    whose: str


class Profile(Value, frozen=True):
    """What one kind of registry does otherwise than the OCI distribution specification lets expect.

    The defaults are those of a registry that keeps to it; None means that the run finds it out. Sizes in bytes.
    """

    name: str
    title: str
    hosts: tuple[str, ...] = ()
    """Patterns of host names (`*` stands for any part), which is how a registry is recognised before it was asked."""
    marks: tuple[Mark, ...] = ()
    """How it is recognised by an answer: any of them tells."""
    api_host: str | None = None
    """The host that serves the API, where it is not the registry's own name."""
    heads_manifests: bool | None = None
    """Whether HEAD tells of a manifest what GET does; where it does not, GET is used at once."""
    page_size: int = 1000
    """Names in a list (tags, repositories) asked for at once; 0 leaves it to the registry."""
    creation: Creation = Creation.BY_PUSH
    listing: Listing = Listing.CATALOG
    listing_host: str | None = None
    """The host that serves the API by which repositories are listed, where it is not the registry's."""
    has_catalog: bool = True
    """Whether anybody at all gets the list of all repositories."""
    tells_many_blobs: bool = False
    """Whether Amazon ECR's API tells of many blobs in one call whether they are there."""
    list_actions: tuple[str, ...] = ("pull",)
    """The actions that a token for a list of tags is asked for."""
    mounts: Mounts = Mounts.ANYWHERE
    mounts_from_itself: bool | None = None
    """Whether POST `?mount=<digest>&from=<the same repository>` tells of a blob that it is there, as HEAD would."""
    takes_pieces: bool | None = None
    """Whether a blob can be uploaded in pieces (PATCH)."""
    keeps_partial: bool | None = None
    """Whether what came of an upload before a cut survives it, and the session tells how much that is."""
    cancels_uploads: bool = True
    """Whether an upload session can be given up by DELETE."""
    piece_bytes: int = 16 * MIB
    """A piece of an upload in pieces: what a cut may cost; with larger ones a request costs no less."""
    least_piece_bytes: int = MIB
    """What every piece but the last has at least."""
    limits: tuple[Limit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    """For plans; what counts in a run is what the registry says."""
    signs: tuple[Sign, ...] = ()
    """What its failures mean; the first that fits counts."""

    __repr__ = repr_without("signs")

    def limit_of(self, operation: Operation) -> Limit | None:
        """The published limit that requests of this kind count against."""
        return next((limit for limit in self.limits if operation in limit.operations), None)
