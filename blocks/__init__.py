"""What exists, as operators register it: one Prefect block type for each thing a person can point at."""

from blocks.inventory_block import Registered
from blocks.mail import Mail
from blocks.platform import Platform
from blocks.servers import DatabaseServer, NfsServer, WebServer
from blocks.share import Share
from blocks.site import Site, site_block_name
from blocks.ssh import SshCredentials
from blocks.targets import Cluster, Pack

BLOCK_TYPES = (SshCredentials, WebServer, NfsServer, DatabaseServer, Share, Cluster, Pack, Platform, Site)

__all__ = [
    "BLOCK_TYPES",
    "Cluster",
    "DatabaseServer",
    "Mail",
    "NfsServer",
    "Pack",
    "Platform",
    "Registered",
    "Share",
    "Site",
    "SshCredentials",
    "WebServer",
    "site_block_name",
]
