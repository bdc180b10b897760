"""The kernel's mount table and fstab: what others wrote in them is read right, and left as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.nfs.fstab import edit_fstab, parse_fstab, split_lines
from tasks.nfs.mounted import differences, mount_at, mount_below, parse_mountinfo
from tasks.nfs.mounts import check_extra, desired_mounts, merge_options
from tests.nfs.pack import FSTAB, mounted, pack

MOUNTINFO = r"""
21 26 0:20 / /proc rw,nosuid,nodev,noexec,relatime shared:11 - proc proc rw
26 1 98:0 / / rw,relatime shared:1 - ext4 /dev/ubda rw
60 26 98:16 / /srv/with\040blank rw,relatime shared:31 - ext4 /dev/ubdb rw
70 26 0:45 / /var/aegir/platforms ro,noatime shared:40 - nfs4 192.0.2.61:/srv/disk/blogs/platforms ro,vers=4.2,rsize=131072,wsize=131072,namlen=255,softerr,proto=tcp,timeo=50,retrans=2,sec=sys,clientaddr=192.0.2.72,local_lock=none,addr=192.0.2.61
71 70 0:46 / /var/aegir/platforms rw,noatime - nfs4 192.0.2.62:/x rw,addr=192.0.2.62
garbage
"""  # noqa: E501 - as the kernel writes it


def test_the_kernels_table_is_read() -> None:
    mounts = parse_mountinfo(MOUNTINFO)
    assert len(mounts) == 5
    top = mount_at(mounts, "/var/aegir/platforms")
    assert top is not None
    assert top.source == "192.0.2.62:/x", "the last that was mounted is what is seen"
    assert top.is_nfs
    blank = mount_below(mounts, "/srv/with blank/a")
    assert blank is not None
    assert (blank.device, blank.root) == ("98:16", "/")
    root = mount_below(mounts, "/srv/with")
    assert root is not None
    assert root.point == "/"
    assert mount_at(mounts, "/srv") is None


def test_a_mount_as_the_kernel_shows_it_is_as_asked() -> None:
    code = desired_mounts(pack(), pack().nodes[1])[0]
    mounts = parse_mountinfo(MOUNTINFO)[:4]
    assert differences(code, mounts) == ()
    assert differences(code, parse_mountinfo(MOUNTINFO)) != ()
    assert differences(code, mounts[:3]) == ("not mounted",)


@pytest.mark.parametrize(
    "option", ["soft", "rw", "bg", "vers=3", "x-systemd.automount", "noauto", "addr=1.2.3.4"]
)
def test_what_decides_what_a_share_is_cannot_be_chosen(option: str) -> None:
    with pytest.raises(PlanRefused, match=f"option {option} of share blogs"):
        check_extra("blogs", f"rsize=65536,{option}")


def test_an_additional_option_replaces_ours() -> None:
    assert merge_options(["ro", "timeo=50"], ["timeo=100", "nconnect=4"]) == ("ro", "timeo=100", "nconnect=4")
    code = desired_mounts(pack(code_options="timeo=100"), pack().nodes[1])[0]
    assert "timeo=100" in code.options
    assert "timeo=50" not in code.options


def test_an_address_of_version_6_is_put_in_brackets() -> None:
    mount = desired_mounts(pack(address="2001:db8::61"), pack().nodes[1])[0]
    assert mount.source.startswith("[2001:db8::61]:/")
    assert differences(mount, [mounted(mount)]) == ()


LINES = st.lists(
    st.sampled_from(
        ["UUID=1 / ext4 defaults 0 1", "# /var/aegir/sites", "", "\t# x-packmaster=blogs", "garbage",
         "a\tb\tc\td", "192.0.2.9:/y /mnt/y nfs rw,x-packmaster=shop 0 0", "tmpfs /tmp tmpfs rw\r",
         "x /y z x-packmaster 0 0"]
    ),
    max_size=6,
)  # fmt: skip


@given(LINES, st.booleans(), st.integers(0, 2), st.integers(0, 2))
def test_other_lines_stay_byte_for_byte(others: list[str], ended: bool, before: int, after: int) -> None:
    text = "\n".join(others) + ("\n" if ended and others else "")
    ours = desired_mounts(pack(), pack().nodes[1])
    once = edit_fstab(text, "blogs", ours[:before])
    twice = edit_fstab(once, "blogs", ours[:after])
    assert [line for line in split_lines(twice) if "x-packmaster=blogs 0 0" not in line] in (
        split_lines(text),
        split_lines(text + "\n"),
    )
    assert [line.point for line in parse_fstab(twice) if line.share == "blogs"] == [
        m.point for m in ours[:after]
    ]
    assert edit_fstab(twice, "blogs", ours[:after]) == twice
    assert edit_fstab(twice, "blogs", ()) in (text, text + "\n")


def test_a_line_of_ours_keeps_its_place() -> None:
    ours = desired_mounts(pack(), pack().nodes[1])
    text = edit_fstab("", "blogs", ours) + FSTAB
    changed = desired_mounts(pack(data_options="nconnect=2"), pack().nodes[1])
    lines = edit_fstab(text, "blogs", changed).splitlines()
    assert lines[0] == ours[0].fstab_line
    assert lines[1] == changed[1].fstab_line
    assert lines[2:] == FSTAB.splitlines()


@given(st.text())
def test_no_table_is_too_odd_to_be_read(text: str) -> None:
    parse_mountinfo(text)
    parse_fstab(text)
    assert "".join(split_lines(text)) == text
