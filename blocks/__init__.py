"""What exists, as operators register it: one Prefect block type for each thing a person can point at."""

from blocks.platform import Platform
from blocks.servers import DatabaseServer, WebServer
from blocks.site import Site, site_block_name
from blocks.ssh import SshCredentials
from blocks.targets import Cluster

BLOCK_TYPES = (SshCredentials, WebServer, DatabaseServer, Cluster, Platform, Site)

__all__ = [
    "BLOCK_TYPES",
    "Cluster",
    "DatabaseServer",
    "Platform",
    "Site",
    "SshCredentials",
    "WebServer",
    "site_block_name",
]
