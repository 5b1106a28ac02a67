"""The benchmark: run from a checkout, part of no wheel."""
