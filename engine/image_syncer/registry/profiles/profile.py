"""A profile: the properties of one kind of registry, as data for generic code."""

from __future__ import annotations

from enum import Enum

from image_syncer.registry.message import Operation
from image_syncer.values import TextEnum, Value, repr_without

MIB = 2**20
READS = frozenset(
    {Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.HEAD_BLOB, Operation.GET_BLOB, Operation.LIST_TAGS}
)
WRITES = frozenset({Operation.START_UPLOAD, Operation.PATCH_UPLOAD, Operation.PUT_UPLOAD, Operation.PUT_MANIFEST})


class Mounts(TextEnum):
    """Between which repositories of a registry a blob can be mounted; the values are the words of the configuration."""

    ANYWHERE = "anywhere"
    SAME_OWNER = "same owner"
    """The first component of both names is the same."""
    NOWHERE = "nowhere"

    def realm(self, name: str) -> str:
        """Return the prefix of the repositories from which a blob can be mounted into `name`; `name` for none."""
        if self is Mounts.ANYWHERE:
            return ""
        owner, slash, _ = name.partition("/")
        return f"{owner}/" if self is Mounts.SAME_OWNER and slash else name


class Creation(Enum):
    """How a repository is created."""

    BY_PUSH = "by a push"
    ECR_API = "by Amazon ECR's API"
    HARBOR_API = "by Harbor's API, as a project"


class Listing(Enum):
    """How the repositories of a known project or namespace are listed."""

    CATALOG = "by /v2/_catalog"
    HARBOR_API = "by Harbor's API, for each project"
    GITLAB_API = "by GitLab's API, for each group"
    HUB_API = "by Docker Hub's API, for each namespace"


class Meaning(Enum):
    """The meaning of a failure, whatever its status."""

    WAIT = "wait"
    """Too many requests: the same one is accepted later."""
    CREATE_FIRST = "create it first"
    """The repository, or its project, does not exist, and a push does not create it."""
    IMMUTABLE = "immutable"
    """The tag has other content, which cannot be changed."""
    NOT_ALLOWED = "not allowed"
    """The credentials do not allow it, or a policy does not."""
    FULL = "full"
    """The storage is full, or a quota is used up."""
    NOT_TAKEN = "not taken"
    """The registry does not accept content of this kind."""


class Sign(Value, frozen=True):
    """A meaning that a failure shows: every given condition has to hold, and of `codes` and `words` one.

    `codes` are those of the registry (upper case), `words` are in the body (lower case), `hint` is for the user:
    "{registry}", "{repository}" and "{project}" (its first component) are filled in.
    """

    meaning: Meaning
    hint: str
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    operations: frozenset[Operation] = frozenset()

    def fits(self, status: int, codes: tuple[str, ...], text: str, operation: Operation) -> bool:
        """Return whether an answer with this status, these codes and the body `text` (in lower case) fits."""
        if self.statuses and status not in self.statuses:
            return False
        if self.operations and operation not in self.operations:
            return False
        if not (self.codes or self.words):
            return True
        return not self.codes.isdisjoint(codes) or any(words in text for words in self.words)


class Mark(Value, frozen=True):
    """A mark of a kind of registry in its answers: a `header` whose value, in lower case, matches the pattern."""

    header: str
    value: str = "*"


class Limit(Value, frozen=True):
    """A limit that the operator publishes: `per_s` requests a second for `operations` together."""

    operations: frozenset[Operation]
    per_s: float

    def bucket(self, registry: str) -> str:
        """Return the name of the bucket of these operations: "registry.example (put manifest)"."""
        return f"{registry} ({', '.join(sorted(operation.value for operation in self.operations))})"


class Quota(Value, frozen=True):
    """A quota of an account over hours: `count` of the `operations` in `hours`; `whose` says of which account."""

    operations: frozenset[Operation]
    count: int
    hours: float
    whose: str


class Profile(Value, frozen=True):
    """Where one kind of registry differs from the OCI distribution specification.

    The defaults are those of a registry that follows it; None means that the run finds out. Sizes are bytes.
    """

    name: str
    title: str
    hosts: tuple[str, ...] = ()
    """Patterns of host names (`*` is any part), by which a registry is recognised before its first answer."""
    marks: tuple[Mark, ...] = ()
    """Marks of its answers, of which one is enough."""
    api_host: str | None = None
    """The host of the API, where it is not the registry's own name."""
    heads_manifests: bool | None = None
    """Whether HEAD of a manifest has the headers of GET; otherwise GET is used at once."""
    page_size: int = 1000
    """Names in a page of tags or repositories; 0 leaves it to the registry."""
    creation: Creation = Creation.BY_PUSH
    listing: Listing = Listing.CATALOG
    listing_host: str | None = None
    """The host of the API that lists repositories, where it is not the registry's."""
    has_catalog: bool = True
    """Whether the registry lists all repositories at all."""
    tells_many_blobs: bool = False
    """Whether Amazon ECR's API checks many blobs in one call."""
    list_actions: tuple[str, ...] = ("pull",)
    """The actions of the token for a list of tags."""
    mounts: Mounts = Mounts.ANYWHERE
    mounts_from_itself: bool | None = None
    """Whether POST `?mount=<digest>&from=<the same repository>` checks a blob, as HEAD would."""
    takes_pieces: bool | None = None
    """Whether a blob can be uploaded in pieces (PATCH)."""
    keeps_partial: bool | None = None
    """Whether the bytes of an upload before a cut are kept, and the session says how many they are."""
    cancels_uploads: bool = True
    """Whether DELETE cancels an upload session."""
    piece_bytes: int = 16 * MIB
    """The size of a piece, which a cut may cost; larger ones make requests no cheaper."""
    least_piece_bytes: int = MIB
    """The minimum of every piece but the last."""
    limits: tuple[Limit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    """For plans; in a run the registry's answers count."""
    signs: tuple[Sign, ...] = ()
    """The meanings of its failures; the first that fits counts."""

    __repr__ = repr_without("signs")

    @property
    def mounts_any(self) -> bool | None:
        """Whether blobs of other repositories can be mounted: False where `mounts` says so, else it is found out."""
        return False if self.mounts is Mounts.NOWHERE else None

    def limit_of(self, operation: Operation) -> Limit | None:
        """Return the published limit of an operation."""
        return next((limit for limit in self.limits if operation in limit.operations), None)


GENERIC = Profile("generic", "a registry that keeps to the OCI distribution specification")
