"""How a node makes the written form of a manifest out of another one that it has: two megabytes for 20,000
files, of which a release changes a few lines."""

from __future__ import annotations

from tasks.code.manifest import Manifest


def write_edit(old: Manifest, new: Manifest, inserted: str) -> tuple[bytes, bytes]:
    """A script and the lines of the file `inserted`, with which `sed -n -f` turns one into the other.

    Each command waits for its line and then hands over to the next: with an address for each, sed would look
    at all of them at every line. `R` takes the file's lines one after the other (GNU sed, "Other Commands").
    """
    ends: dict[bytes, int] = {}
    commands: dict[int, bytes] = {}
    last = 1
    for record in old.written:
        first, last = last + 1, last + 1 + record.count(b"\n")
        if record in new.records:
            ends[record] = last
        else:
            commands[first] = b"n\n" * (last + 1 - first)
    lines: list[bytes] = []
    count: dict[int, int] = {}
    after = 1
    for record in new.written:
        after = ends.get(record, after)
        if record not in ends:
            lines.append(b"# %s\n" % record)
            count[after] = count.get(after, 0) + 1 + record.count(b"\n")
    reading = b"R %s\n" % inserted.encode()
    commands |= {line: b"p\n" + reading * times + b"n\n" for line, times in count.items()}
    waits = [b":%d\n%d!{\np\nn\nb%d\n}\n%s" % (at, at, at, commands[at]) for at in sorted(commands)]
    return b"".join([*waits, b":end\np\nn\nbend\n"]), b"".join(lines)
