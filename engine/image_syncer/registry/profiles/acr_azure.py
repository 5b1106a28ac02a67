"""Azure Container Registry: learn.microsoft.com/azure/container-registry."""

from __future__ import annotations

from image_syncer.registry.profiles.profile import MIB, WRITES, Mark, Meaning, Profile, Sign

__all__ = ["ACR_AZURE"]

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
