"""The converter of YAML files of `skopeo sync --src yaml`.

The format: https://github.com/containers/skopeo/blob/main/docs/skopeo-sync.1.md; what it means: cmd/skopeo/sync.go.
Such a file has no destination: `--to` gives it, as skopeo's last argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config.converters.draft import DraftRule
from image_syncer.config.converters.foreign import Choice, ForeignFields, RangeError, of_masterminds
from image_syncer.oci import Digest, InvalidReference, is_tag, parse_repository

if TYPE_CHECKING:
    from image_syncer.config.converters.draft import Draft
    from image_syncer.config.document import Node


SKOPEO_KEYS = ("images", "images-by-tag-regex", "images-by-semver")
_OF_REGISTRY: dict[str, tuple[str, str | None]] = {
    "cert-dir": ("a folder of certificates", "name the files: ca_file, client_cert and client_key"),
}


def draft_skopeo(draft: Draft, root: Node) -> None:
    """Add the registries and rules of the file to the draft."""
    draft.notes.append("Without --all, skopeo copies the image for its own machine out of an index; here all of it is")
    draft.notes.append("copied. For one platform, give the rules `platforms`.")
    top = ForeignFields(draft, root, "")
    if not any(key in top.fields(name) for name in top.names() for key in SKOPEO_KEYS):
        draft.findings.error(top.line, None, "there is no registry with images, as a file of skopeo has it")
    if not draft.options.to:
        draft.findings.error(None, None, "the file does not say where its images go", "add --to, skopeo's destination")
    for name in top.names():
        _draft_registry(draft, name, top.fields(name))


def _draft_registry(draft: Draft, registry: str, fields: ForeignFields) -> None:
    notes: list[str] = []
    values: dict[str, object] = {}
    credentials = fields.fields("credentials")
    if user := credentials.text("username"):
        values["username"] = draft.keep_username(registry, user, credentials.place("username"))
    if password := credentials.text("password"):
        values["password"] = draft.keep_secret(registry, "PASSWORD", password, credentials.place("password"))
    credentials.lose_others(notes, {"identityToken": ("identity tokens are not in our format", "docker login")})
    if fields.flag("tls-verify") is False:
        values["insecure"] = True
    images, regexes, ranges = (fields.fields(name) for name in SKOPEO_KEYS)
    fields.lose_others(notes, _OF_REGISTRY)
    if values or notes:
        entry = draft.entry(registry, fields.line, fields.key)
        entry.values |= values
        entry.notes += notes
    for name in images.names():
        _draft_images(draft, f"{registry}/{name}", images, name)
    for name in regexes.names():
        _add(draft, f"{registry}/{name}", "", regexes.place(name), Choice(regexes.text(name)))
    for name in ranges.names():
        try:
            choice, why = Choice(within=of_masterminds(ranges.text(name))), None
        except RangeError as error:
            choice, why = Choice(), str(error)
        rule = _add(draft, f"{registry}/{name}", "", ranges.place(name), choice)
        if why is not None:
            draft.refuse(rule, f"the range of versions cannot be said in our format: {why}", "write it as `versions`")


def _draft_images(draft: Draft, repository: str, images: ForeignFields, name: str) -> None:
    place, tags = images.place(name), []
    references = images.texts(name)
    if not references:
        _add(draft, repository, "", place, Choice())
        return
    digests = []
    for text in dict.fromkeys(references):
        try:
            digests.append(Digest(text))
        except ValueError:  # noqa: PERF203 - one by one
            if is_tag(text):
                tags.append(text)
            else:
                draft.lose(draft.notes, *place, f"“{text}” is neither a tag nor a digest; skopeo passes over it")
    if tags:
        _add(draft, repository, f":{','.join(tags)}", place, Choice())
    for digest in digests:
        _add(draft, repository, f"@{digest}", place, Choice())


def _add(draft: Draft, repository: str, end: str, place: tuple[int | None, str], choice: Choice) -> DraftRule:
    to = (draft.options.to or "").rstrip("/")
    try:
        full_name = str(parse_repository(repository))
    except InvalidReference:
        full_name = repository  # the proof of the draft refuses it
    name = full_name if draft.options.scoped else full_name.rpartition("/")[2]
    rule = DraftRule(f"{repository}{end}", [f"{to}/{name}"], place, choice.tags())
    draft.rules.append(rule)
    return rule
