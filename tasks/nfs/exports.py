"""What an NFS server exports for a share: the file that is ours, and the table that is in force. Pure text.

`exportfs -r` would drop what somebody exported by hand, and `-a` would export what somebody took back by
hand, so neither is ever run: each of our own lines is exported and taken back by name (exportfs(8)).
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.fleet import Share, Target
from tasks.nfs.clients import check_address, check_client
from tasks.nfs.mounted import unescape

EXPORTS_D = "/etc/exports.d"
ETAB = "/var/lib/nfs/etab"
# Ours and nobody else's: two servers that are copies of each other must never give out the same file handles.
_NAMESPACE = uuid.UUID("6e1f6d0f-6a55-4d4c-9d6c-0d7c2f3f5b0a")
_HEAD = "# Written by Packmaster (flow provision-pack): changes made here are undone by its next run."
_PACK = "# pack "
# What is said explicitly, though it is the default today: a default may change, and a reader should not
# guess.
_ALWAYS = ("sync", "root_squash", "no_all_squash", "no_subtree_check", "secure", "sec=sys")
_PAIRS = (
    *(("rw", "ro"), ("sync", "async"), ("root_squash", "no_root_squash"), ("no_all_squash", "all_squash")),
    *(("no_subtree_check", "subtree_check"), ("secure", "insecure")),
)
# Who root, and whoever else is squashed, becomes: nobody. We never ask for another, and it is not 0.
_ANONYMOUS = {"anonuid": ("65534", "-2"), "anongid": ("65534", "-2")}
_OPPOSITE = {**dict(_PAIRS), **{other: one for one, other in _PAIRS}}


@dataclass(frozen=True, slots=True, order=True)
class Export:
    """A directory, one client (address or subnet) that may mount it, and how (exports(5))."""

    path: str
    client: str
    options: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        return self.path, canonical(self.client)

    @property
    def line(self) -> str:
        return f"{self.path} {self.client}({','.join(self.options)})"

    @property
    def writable(self) -> bool:
        return "rw" in self.options

    def __str__(self) -> str:
        return f"{self.path} to {self.client} ({','.join(self.options)})"


def exports_file(share: Share) -> str:
    """The file on the server that holds the exports of a share and nothing else."""
    return f"{EXPORTS_D}/packmaster-{share.name}.exports"


def export_fsid(share: str, server: str, path: str) -> str:
    """The identity of an export: the same on every run, another one on every other server (exports(5), fsid).

    With the same on a standby that has a copy, an old file handle could mean another file there.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{share}\n{server}\n{path}"))


def desired_exports(target: Target, without: Iterable[str] = ()) -> tuple[Export, ...]:
    """What the server of the target's share exports: code for the master to write and slaves to read, data
    for all to write. To exactly the nodes, or to the clients that the share lists; `without` are names of
    nodes that get nothing. Raises PlanRefused for a client that stands for almost everybody.
    """
    share = target.share
    if share is None or share.mode == "external":
        return ()
    left_out = set(without)
    remote = [node for node in target.nodes if node.endpoint != share.server.endpoint]
    nodes = [node for node in remote if node.name not in left_out]
    addresses = {node.name: check_address(node.name, node.address) for node in nodes}
    listed = [str(check_client(client)) for client in share.clients]
    clients = [canonical(client) for client in listed] or list(addresses.values())
    master = addresses.get(target.master)
    found = {}
    for path, writes in ((share.code_path, False), (share.data_path, True)):
        options = _options(share, path)
        for client in clients:
            found[path, client] = Export(path, client, ("rw" if writes else "ro", *options))
        # The most exact client that matches decides (exports(5)), so the master may be one of a subnet.
        if master is not None:
            found[path, master] = Export(path, master, ("rw", *options))
    return tuple(found[key] for key in sorted(found))


def _options(share: Share, path: str) -> tuple[str, ...]:
    disk = (f"mountpoint={share.disk}",) if share.disk else ()
    return (*_ALWAYS, f"fsid={export_fsid(share.name, share.server.name, path)}", *disk)


def render_exports(pack: str, exports: Sequence[Export]) -> str:
    """The text of our file; it says which pack it is for."""
    return "\n".join([_HEAD, f"{_PACK}{pack}", *(export.line for export in exports), ""])


def pack_of(text: str) -> str:
    """The pack that a file of ours is for, or nothing."""
    named = [line.removeprefix(_PACK).strip() for line in text.splitlines() if line.startswith(_PACK)]
    return named[0] if named else ""


def parse_exports(text: str) -> tuple[Export, ...]:
    """The exports of a file as exports(5) describes it; a client without a name is everybody, `*`."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = _words(line.partition("#")[0])
        if not words:
            continue
        path, *specs = words
        defaults: tuple[str, ...] = ()
        for spec in specs or ["*"]:
            if spec.startswith("-"):
                defaults = tuple(spec[1:].split(","))
                continue
            client, _, options = spec.partition("(")
            given = tuple(option for option in options.rstrip(")").split(",") if option)
            found.append(Export(path, client or "*", (*defaults, *given)))
    return tuple(found)


def _words(line: str) -> list[str]:
    """The words of a line: `"quoted"` or with octal escapes for blanks."""
    words, word, quoted = [], "", False
    for letter in f"{line} ":
        if letter == '"':
            quoted = not quoted
        elif letter.isspace() and not quoted:
            words += [word] if word else []
            word = ""
        else:
            word += letter
    return [unescape(each) for each in words]


def parse_table(text: str) -> tuple[Export, ...]:
    """What is in force: etab, which mountd answers from, or what the kernel asked for of it."""
    return parse_exports(text)


def canonical(client: str) -> str:
    """A client in the one spelling that two of them can be compared in; a subnet of one is an address."""
    try:
        network = ipaddress.ip_network(client)
    except ValueError:
        return client
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def find_differing(desired: Sequence[Export], table: Sequence[Export]) -> tuple[Export, ...]:
    """The desired exports that are not in force as they have to be, options included."""
    actual = {export.key: export.options for export in table}
    return tuple(
        export
        for export in desired
        if export.key not in actual or _differs(export.options, actual[export.key])
    )


def _differs(wanted: Iterable[str], actual: Sequence[str]) -> bool:
    return any(option not in actual or _OPPOSITE.get(option, "") in actual for option in wanted) or any(
        map(_is_somebody, actual)
    )


def _is_somebody(option: str) -> bool:
    """Whether an option makes somebody of those who are to be nobody."""
    name, _, number = option.partition("=")
    return name in _ANONYMOUS and number not in _ANONYMOUS[name]


def find_extra(
    paths: Sequence[str], desired: Iterable[Export], table: Iterable[Export]
) -> tuple[Export, ...]:
    """What is exported of these directories, or from inside them, to clients that are not desired."""
    wanted = {export.key for export in desired}
    return tuple(export for export in table if export.key not in wanted and is_within(export.path, paths))


def is_within(path: str, ours: Sequence[str]) -> bool:
    """Whether an export is one of our directories or inside one."""
    return any(f"{path.rstrip('/')}/".startswith(f"{own}/") for own in ours)


def contradict(desired: Sequence[Export], kernel: Sequence[Export]) -> tuple[str, ...]:
    """Where the kernel answers otherwise than the table says; it lists only what somebody asked it for."""
    wanted = {export.key: export for export in desired}
    return tuple(
        f"{entry.path} for {entry.client} is {option}"
        for entry in kernel
        if entry.key in wanted
        for option in entry.options
        if _OPPOSITE.get(option) in wanted[entry.key].options or _is_somebody(option)
    )


def refuse_open(exports: Iterable[Export]) -> None:
    """Raise PlanRefused for an export of somebody else's that opens a directory to almost everybody."""
    for export in exports:
        if is_for_all(export.client):
            raise PlanRefused(
                f"{export.path} is exported to {export.client}, and not by Packmaster",
                "It holds the code or data of a pack: take that export back, then run this again",
            )


def is_for_all(client: str) -> bool:
    """Whether a client of exports(5) stands for everybody, or for everybody that a wildcard matches."""
    if any(letter in client for letter in "*?["):
        return True
    try:
        network = ipaddress.ip_network(client)
    except ValueError:
        return False
    try:
        check_client(str(network))
    except PlanRefused:
        return True
    return False
