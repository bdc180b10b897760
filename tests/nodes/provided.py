"""A pack that provision-pack has provided, on machines that have exports and mounts of others too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.provision_pack import provision_pack
from tests.nodes.fleet import succeed
from tests.nodes.machines import PackBed
from tests.nodes.nfs_pack import NfsPack, clear, register

NODES = ("master1", "slave1", "slave2")
OURS = "/etc/exports.d/packmaster-nfs-share.exports"
# Lines of somebody else's: byte for byte, with a tab, a comment, and no end.
FOREIGN_FSTAB = "# mine\\ntmpfs\\t/mnt/scratch  tmpfs noauto,size=1m 0 0"
FOREIGN_EXPORTS = "/home 192.0.2.200(ro,no_subtree_check)"


@pytest.fixture(scope="module")
def pack(pack_bed: PackBed, prefect_server: str) -> Iterator[NfsPack]:
    """Registered, not yet provided; another pack's traces are gone, and after this module ours."""
    clear(pack_bed)
    yield register(pack_bed)
    clear(pack_bed)


@pytest.fixture(scope="module")
def provided(pack: NfsPack) -> NfsPack:
    """The pack as its first run leaves it, on machines that have exports and mounts of others."""
    pack.bed.guest("slave1", f"printf '{FOREIGN_FSTAB}' >>/etc/fstab")
    pack.bed.guest("nfs1", f"mkdir -p /etc/exports.d; echo '{FOREIGN_EXPORTS}' >/etc/exports.d/other.exports")
    with pack.untouched():
        state = provision_pack(pack=pack.pack, dry_run=True, return_state=True)
        assert state.is_completed()
    succeed(provision_pack, pack=pack.pack)
    return pack
