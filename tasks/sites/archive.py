"""A site's data directory as a tar on the controller.

The node spools the archive, and it is fetched in pieces: each is one bounded command, so nothing waits for
hours on one, and no large file has to fit into memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import BinaryIO

from tasks.errors import Unreachable
from tasks.fleet import HOME, SITES
from tasks.sites.plan import WEB_USER, Site
from tasks.ssh import Ssh

SPOOL_SECONDS = 3600
PIECE_MIB = 16

# As the web user, who may read what PHP has written. tar ends with 1 when a file changed under it: then this
# is no backup, and it is for the caller to try again.
_SPOOL = """
home=$1 sites=$2 uri=$3 web_user=$4
umask 0077
find "$home" -maxdepth 1 -type f -name '.backup-*' -mmin +1440 -delete
if [ ! -e "$sites/$uri" ]; then echo '0 0 - -'; exit 0; fi
spool=$(mktemp "$home/.backup-XXXXXXXXXX")
trap 'rm -f -- "$spool"' EXIT
entries=$(sudo -n -u "$web_user" -- find "$sites/$uri" -xdev ! -type s -printf . | wc -c)
# Not tar -C: the web user may pass through the directory of all sites, but not read it.
cd "$sites"
sudo -n -u "$web_user" -- tar --one-file-system --warning=no-file-ignored \\
    -I 'gzip -1' -cf - -- "$uri" >"$spool"
digest=$(sha256sum <"$spool")
trap - EXIT
echo "$entries $(stat -c %s -- "$spool") ${digest%% *} $spool"
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """A fetched archive: how many files and directories it was made of, and its digest; none for no data."""

    entries: int
    digest: str


def fetch_data(ssh: Ssh, site: Site, sink: BinaryIO) -> Archived:
    """Write the site's data on this node to `sink` as a gzipped tar whose members begin with the uri.

    A node that has no data gives 0 entries. Raises CommandFailed when something cannot be read or changes
    meanwhile, Unreachable when a piece was damaged on the way. Nothing stays on the node.
    """
    printed = ssh.run_script(
        _SPOOL,
        HOME,
        SITES,
        site.uri,
        WEB_USER,
        timeout=SPOOL_SECONDS,
        meaning=f"cannot archive the data of {site.uri}",
    ).text
    entries, size, digest, spool = printed.split()
    if spool == "-":
        return Archived(0, "")
    try:
        if _copy(ssh, spool, int(size), sink) != digest:
            raise Unreachable(ssh.node.name, f"the archive of {site.uri} was damaged on the way")
    finally:
        ssh.run(["rm", "-f", "--", spool], check=False)
    return Archived(int(entries), digest)


def _copy(ssh: Ssh, spool: str, size: int, sink: BinaryIO) -> str:
    seen = hashlib.sha256()
    step = PIECE_MIB * 1024 * 1024
    for piece in range((size + step - 1) // step):
        words = [
            "dd",
            f"if={spool}",
            "bs=1M",
            f"skip={piece * PIECE_MIB}",
            f"count={PIECE_MIB}",
            "status=none",
        ]
        data = ssh.run(words, meaning="cannot fetch a piece of the archive").out
        seen.update(data)
        sink.write(data)
    return seen.hexdigest()
