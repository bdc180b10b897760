"""How a node sees a tree of code: one `find` each, its output ordered and digested."""

from __future__ import annotations

from tasks.fleet import SITES

# Of standard input. What it prints ends with "  -", which is put behind what it is compared with: to start a
# process that cuts it off takes a node longer than most of the rest.
DIGEST = "b2sum -l 256"
# The same, where the digest is what the controller is told.
PLAIN_DIGEST = f"{DIGEST} | cut -d ' ' -f 1"

# Of the manifest on standard input: `content` and `noted` are what it says of itself and of its listing, and
# `notes` how many lines that takes.
READ_NOTES = """
content= noted= notes=0
while read -r mark note value && [ "$mark" = '#:' ]; do
    notes=$((notes + 1))
    case $note in content) content=$value ;; listing) noted=$value ;; esac
done
"""

# Links into the data of sites are ours, so they are no part of what was shipped.
NOT_SITE_LINKS = f"-type l -lname '{SITES}/*'"

# Everything but contents and times, in the form of Manifest.structure.
STRUCTURE = (
    f"find . -mindepth 1 \\( {NOT_SITE_LINKS} \\) -o -type d -printf 'd %m\\t%P\\0'"
    " -o -type l -printf 'l\\t%P\\t%l\\0' -o -type f -printf 'f %m %s\\t%P\\0' -o -printf '%y\\t%P\\0'"
    f" | sort -z | {PLAIN_DIGEST}"
)

# What can be seen without reading files, owners and times included: it is recorded when a release was
# verified, and compared afterwards. A directory's time is left out, for links to sites come and go.
LISTING = (
    f"find . -mindepth 1 \\( {NOT_SITE_LINKS} \\) -o -type d -printf 'd %m %U %G\\t%P\\0'"
    " -o -type l -printf 'l\\t%P\\t%l\\0' -o -printf '%y %m %s %T@ %U %G\\t%P\\0'"
    " | sort -z"
)

# Which file each entry is. It costs half of LISTING: what a directory says of its entries is enough.
INODES = (
    f"find . -mindepth 1 \\( {NOT_SITE_LINKS} \\) -o -type d -printf 'd\\t%P\\0' -o -printf '%i\\t%P\\0'"
    " | sort -z"
)

# From records of LISTING to those of STRUCTURE, also where comm(1) put a tab before those of its second file.
# What matches first is in front of the path. Without groups, for with them sed takes five times as long.
AS_STRUCTURE = r"sed -z '/^\t\{0,1\}f/ s/ [-0-9.]* [0-9]* [0-9]*\t/\t/; /^\t\{0,1\}d/ s/ [0-9]* [0-9]*\t/\t/'"
