"""A codebase that sites run on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, HttpUrl, field_validator

from blocks.inventory_block import InventoryBlock, as_field_check
from blocks.servers import WebServer
from blocks.targets import Cluster, Pack, resolve_target
from tasks.fleet import PLATFORMS, Target
from tasks.names import SOURCE_PATTERN, check_docroot, check_slug

ProfileName = Literal["php", "wordpress", "drupal"]


class Platform(InventoryBlock):
    """A codebase, where it comes from, and what it is deployed to.

    Example:
        ```python
        from blocks import Platform

        platform = Platform.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Platform"
    _block_type_slug = "packmaster-platform"
    _description = "A codebase on which sites run, deployed to one cluster, pack or web server."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/php")
    _documentation_url = HttpUrl("https://docs.aegirproject.org/usage/platforms/")

    target: Cluster | Pack | WebServer = Field(
        description="The cluster, pack or web server that it is deployed to."
    )
    source: str = Field(
        title="Source",
        description="A directory on the controller, a git URL, or an archive (path or URL). No password.",
        min_length=1,
        json_schema_extra={"pattern": SOURCE_PATTERN},
    )
    ref: str = Field(default="", title="Git ref", description="Branch, tag or commit, for a git source.")
    checksum: str = Field(
        default="", title="Checksum", description="SHA-256 of an archive; needed when it is a URL."
    )
    docroot: str = Field(
        default="",
        title="Document root",
        description="Directory inside the source that is served, such as web; empty for its top.",
    )
    profile: ProfileName = Field(
        default="php", title="Profile", description="What kind of application it is."
    )
    keep_releases: int = Field(
        default=5, title="Keep releases", description="Releases kept for rollback.", ge=2, le=50
    )

    on_drift: Literal["report", "repair"] = Field(
        default="report",
        title="When it differs",
        description="What the nightly resync-all does about a difference: report it, or repair it.",
    )

    _plain_docroot = field_validator("docroot")(as_field_check(check_docroot))

    def resolve(self) -> Target:
        """Its target as nodes; raises PlanRefused as `Cluster.resolve` does."""
        check_slug(self.name, "platform")
        return resolve_target(self.target)

    def docroot_path(self) -> str:
        """Where its document root is on every node, through the `current` link."""
        inside = check_docroot(self.docroot)
        return f"{PLATFORMS}/{self.name}/current" + (f"/{inside}" if inside else "")
