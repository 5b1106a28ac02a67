"""Converters: files of other tools as files in our own format, one module for each tool, and one writer."""

from __future__ import annotations

from image_syncer.config.converters.conversion import Conversion, FileFormat, convert_files
from image_syncer.config.converters.draft import ConversionOptions, SecretNote

__all__ = ["Conversion", "ConversionOptions", "FileFormat", "SecretNote", "convert_files"]
