"""Where a worker keeps its files: builds, which may be deleted at any time, and backups, which may not."""

from __future__ import annotations

import os
from pathlib import Path


def work_directory() -> Path:
    """The worker's cache of builds and manifests; everything in it can be made again."""
    return _home() / "work"


def backup_directory() -> Path:
    """Where remove-site keeps what it backed up; set PACKMASTER_BACKUPS to put it on another disk."""
    configured = os.environ.get("PACKMASTER_BACKUPS")
    return Path(configured) if configured else _home() / "backups"


def _home() -> Path:
    return Path(os.environ.get("PACKMASTER_HOME", Path.home() / ".packmaster")).resolve()
