"""Runs whose workers are in the processes of a Dask cluster. Dask itself is loaded when one begins."""

from __future__ import annotations

from image_syncer.cluster.connection import ClusterAddress, parse_cluster_address
from image_syncer.cluster.run import check_cluster_run, sync_on_cluster

__all__ = ["ClusterAddress", "check_cluster_run", "parse_cluster_address", "sync_on_cluster"]
