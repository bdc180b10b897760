"""What DRBD and Pacemaker print, read. Neither can run on the machines of the test bed."""

from __future__ import annotations

import base64

import pytest

from tasks.external.facts import parse_drbd, parse_pacemaker, parse_sight
from tasks.external.values import DrbdState

WELL = """\
files role:Primary
  disk:UpToDate
  nfs2 role:Secondary
    peer-disk:UpToDate

"""
# The peer of the first is off; the second, of two volumes, is being filled again.
ILL = """\
# a comment
files role:Primary
  disk:UpToDate
  nfs2 connection:Connecting

state role:Secondary
  volume:0 disk:UpToDate
  volume:1 disk:Inconsistent
  nfs2 role:Primary
    volume:0 peer-disk:UpToDate
    volume:1 replication:SyncTarget peer-disk:UpToDate done:12.30
"""
CRM_MON = """\
<pacemaker-result api-version="2.25" request="crm_mon --output-as xml">
  <summary>
    <stack type="corosync"/>
    <current_dc present="true" version="2.1.5" name="nfs1" id="1" with_quorum="{quorum}"/>
    <cluster_options stonith-enabled="{stonith}" symmetric-cluster="true" maintenance-mode="false"/>
  </summary>
  <nodes>
    <node name="nfs1" id="1" online="true" standby="false" pending="false" unclean="false"/>
    <node name="nfs2" id="2" online="{online}" standby="{standby}" pending="false" unclean="false"/>
  </nodes>
  <failures>{failures}</failures>
  <status code="0" message="OK"/>
</pacemaker-result>
"""
FAILURE = '<failure op_key="nfsd_start_0" node="nfs2" exitstatus="error" exitcode="1" call="42"/>'


def crm_mon(**changes: str) -> str:
    well = {"quorum": "true", "stonith": "true", "online": "true", "standby": "false", "failures": ""}
    return CRM_MON.format(**(well | changes))


def test_drbd_that_is_well_says_who_writes() -> None:
    assert parse_drbd(WELL) == (DrbdState("files", "Primary", ("Secondary",)),)
    assert parse_drbd(WELL)[0].primaries == 1


def test_what_is_not_well_is_named_with_whose_it_is() -> None:
    files, state = parse_drbd(ILL)
    assert files.troubles == ("nfs2 connection:Connecting",)
    assert state.troubles == ("disk:Inconsistent", "replication:SyncTarget")
    assert (state.role, state.peers) == ("Secondary", ("Primary",))


def test_a_witness_without_a_disk_is_no_trouble() -> None:
    witness = WELL + "  third role:Secondary\n    peer-disk:Diskless client:yes\n"
    assert parse_drbd(witness)[0].troubles == ()


@pytest.mark.parametrize("text", ["", "\n", "# nothing is configured\n"])
def test_drbd_without_a_resource_shows_none(text: str) -> None:
    assert parse_drbd(text) == ()


def test_a_cluster_that_is_well() -> None:
    state = parse_pacemaker(crm_mon())
    assert (state.answered, state.stonith, state.quorum, state.failures) == (True, True, True, ())
    assert state.nodes == (("nfs1", "online"), ("nfs2", "online"))


def test_a_cluster_that_is_not() -> None:
    state = parse_pacemaker(crm_mon(stonith="false", quorum="false", online="false", failures=FAILURE))
    assert (state.stonith, state.quorum) == (False, False)
    assert state.nodes[1] == ("nfs2", "offline")
    assert state.failures == ("nfsd_start_0 on nfs2: error",)
    assert parse_pacemaker(crm_mon(standby="true")).nodes[1] == ("nfs2", "standby")


@pytest.mark.parametrize("text", ["", "Error: cluster is not currently running on this node", "<a/>"])
def test_one_that_says_nothing_that_can_be_read_does_not_answer(text: str) -> None:
    assert not parse_pacemaker(text).answered


def test_what_a_server_says_is_read_and_what_is_not_installed_is_none() -> None:
    table = base64.b64encode(b"/srv/p/sites\t192.0.2.9(rw,sync,fsid=7)\n").decode()
    text = f"address\t192.0.2.1\naddress\tfe80::1\nthreads\t8\ntable\t{table}\nscope\tha-files\n"
    sight = parse_sight("nfs1", text)
    assert (sight.addresses, sight.threads, sight.scope) == (("192.0.2.1", "fe80::1"), 8, "ha-files")
    assert (sight.fsid("/srv/p/sites"), sight.fsid("/srv/p/platforms")) == ("7", None)
    assert (sight.drbd, sight.pacemaker) == (None, None)
    encoded = base64.b64encode(WELL.encode()).decode()
    assert parse_sight("nfs1", f"{text}drbd\t{encoded}\ncluster\t\n").drbd == parse_drbd(WELL)
