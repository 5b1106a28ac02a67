"""Converters: files of other tools as files in our own format, one module for each tool, and one writer."""

from __future__ import annotations

from image_syncer.config.converters.draft import ConversionOptions, Draft, SecretNote
from image_syncer.config.converters.dregsy import draft_dregsy
from image_syncer.config.converters.go_files import draft_go_auth, draft_go_images
from image_syncer.config.converters.own_writer import write_own
from image_syncer.config.converters.proof import AnyVariables, prove
from image_syncer.config.converters.recognition import FileFormat, recognise_format
from image_syncer.config.converters.regsync import draft_regsync
from image_syncer.config.converters.skopeo import draft_skopeo

__all__ = [
    "AnyVariables",
    "ConversionOptions",
    "Draft",
    "FileFormat",
    "SecretNote",
    "draft_dregsy",
    "draft_go_auth",
    "draft_go_images",
    "draft_regsync",
    "draft_skopeo",
    "prove",
    "recognise_format",
    "write_own",
]
