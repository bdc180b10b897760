"""The database of a Prefect server that has not started yet.

Half of what a server's first start costs, 7 of 13 s of CPU, is spent on making its tables.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

KEPT = Path(__file__).resolve().parents[1] / ".packmaster" / "prefect-databases"


def lay_database(home: Path) -> None:
    """A server that starts in `home`, its PREFECT_HOME, finds its tables made, and nothing in them.

    They are made once for each version of Prefect, by whichever process is the first to need them.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / f"{version('prefect')}.db"
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=KEPT) as folder:
                make_database(Path(folder)).replace(kept)
    home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(kept, home / "prefect.db")


def make_database(home: Path) -> Path:
    """What Prefect itself makes, without a server."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"],
        env=clean | {"PREFECT_HOME": str(home)}, stdin=subprocess.DEVNULL, capture_output=True, check=True,
    )  # fmt: skip
    return home / "prefect.db"
