"""A source tree like a real CMS with its vendor directory, the same on every machine, and changes to it.

Contents compress about as well as PHP code does (4 to 5 times), for one of the contenders compresses.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

SEED = 20260131
# The mean of a Drupal site with its vendor directory.
BYTES_PER_FILE = 7650
FILES_CHANGED = 200
SMALLEST = 400
SUFFIXES = ("php",) * 12 + ("yml", "yml", "twig", "js", "css", "inc", "module", "txt")
# Directories of one package; a `*` becomes a word. Paths end up three to eight names deep.
LAYOUT = (
    "core/lib/*/Component",
    "core/modules/*/src",
    "core/modules/*/src/Plugin/*",
    "core/modules/*/src/Entity",
    "core/modules/*/tests/src/Functional",
    "core/modules/*/config/install",
    "modules/contrib/*/src/Form",
    "modules/contrib/*/src/Plugin/Field/*",
    "modules/contrib/*/templates",
    "themes/contrib/*/css/components",
    "vendor/*/*/src",
    "vendor/*/*/src/*/Internal",
    "vendor/*/*/tests/Fixtures",
)
WORDS = """
access account action admin alias batch block build cache cart check comment config content context
cron data date display entity event export field file filter form format group handler history image
import index item language layout link list locale log mail media menu message migrate node option
order page path plugin price product query queue render report role route schema search service
session setting shortcut site state statistics storage stream style system tag task taxonomy term
text theme token tracker update user validator value view widget workflow
""".split()  # noqa: SIM905 - a hundred quotes less
# The names are our own, so they need no escaping.
NODE_DIGEST = """
export LC_ALL=C
cd "$1"
{
    find . -type f -printf '%P\\t%m\\n' | sort | sed 's/\\(.*\\)\\t\\(.*\\)/\\2 \\1/'
    find . -type f -printf '%P\\0' | sort -z | xargs -0 -r sha256sum --
} | sha256sum
"""


@dataclass(frozen=True, slots=True)
class TreeSpec:
    """How large a tree is to be: `size` is the bytes in all files together."""

    files: int
    size: int
    seed: int = SEED

    @classmethod
    def of(cls, files: int) -> TreeSpec:
        """A tree of that many files of ordinary size."""
        return cls(files, files * BYTES_PER_FILE)


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree on disk. `paths` are its files relative to `root`, sorted."""

    root: Path
    spec: TreeSpec
    paths: tuple[str, ...]


def plan_paths(spec: TreeSpec) -> tuple[str, ...]:
    """The relative paths of a tree's files, sorted; the same for the same spec."""
    chance = random.Random(f"{spec.seed}/paths")
    paths: dict[str, None] = {}
    layouts = cycle(LAYOUT)
    while len(paths) < spec.files:
        folder = "/".join(chance.choice(WORDS) if part == "*" else part for part in next(layouts).split("/"))
        for _ in range(min(chance.randint(4, 28), spec.files - len(paths))):
            name = "".join(word.title() for word in chance.sample(WORDS, 2))
            paths[f"{folder}/{name}.{chance.choice(SUFFIXES)}"] = None
    return tuple(sorted(paths))


def plan_sizes(spec: TreeSpec) -> tuple[int, ...]:
    """The sizes of a tree's files in bytes: many small, few large (log-normal), `spec.size` in sum."""
    chance = random.Random(f"{spec.seed}/sizes")
    weights = [chance.lognormvariate(0.0, 1.1) for _ in range(spec.files)]
    spare = spec.size - SMALLEST * spec.files
    if spare < 0:
        raise ValueError(f"{spec.size} bytes are too few for {spec.files} files")
    total = sum(weights)
    sizes = [SMALLEST + int(spare * weight / total) for weight in weights]
    sizes[-1] += spec.size - sum(sizes)
    return tuple(sizes)


def make_tree(root: Path, spec: TreeSpec) -> Tree:
    """Make `root` hold exactly the tree of `spec`, whatever was there before."""
    shutil.rmtree(root, ignore_errors=True)
    chance = random.Random(f"{spec.seed}/contents")
    blocks = [_method(chance) for _ in range(1500)]
    paths = plan_paths(spec)
    folders: set[str] = set()
    for path, size in zip(paths, plan_sizes(spec), strict=True):
        folder = os.path.dirname(path)
        if folder not in folders:
            (root / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
            folders.add(folder)
        _write(root / path, _content(chance, blocks, path, size))
    for folder in folders:
        (root / folder).chmod(0o755)
    return Tree(root, spec, paths)


def choose_changed(spec: TreeSpec, paths: Sequence[str], version: int) -> tuple[str, ...]:
    """The files that differ between version `version - 1` and `version` of a tree."""
    chance = random.Random(f"{spec.seed}/change/{version}")
    return tuple(sorted(chance.sample(list(paths), min(FILES_CHANGED, len(paths)))))


def change_tree(tree: Tree, version: int) -> tuple[str, ...]:
    """Change FILES_CHANGED files as a developer would, a few lines in each; returns their paths.

    Versions build on each other: call it with 1, 2, 3… after `make_tree`.
    """
    changed = choose_changed(tree.spec, tree.paths, version)
    chance = random.Random(f"{tree.spec.seed}/edit/{version}")
    for path in changed:
        file = tree.root / path
        content = file.read_bytes()
        middle = content.find(b"\n", len(content) // 2) + 1
        edit = f"    // Version {version} of {path}.\n{_method(chance)}".encode()
        _write(file, content[:middle] + edit + content[middle:])
    return changed


def digest_tree(root: Path) -> str:
    """What NODE_DIGEST prints on a node that has exactly these files: names, modes and contents."""
    names, contents = [], []
    for path in sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()):
        names.append(f"{(root / path).lstat().st_mode & 0o7777:o} {path}\n")
        contents.append(f"{hashlib.sha256((root / path).read_bytes()).hexdigest()}  {path}\n")
    return hashlib.sha256("".join(names + contents).encode()).hexdigest()


def _write(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    file.chmod(0o644)


def _content(chance: random.Random, blocks: Sequence[str], path: str, size: int) -> bytes:
    """A file of exactly `size` bytes: a class of methods, the rest a comment that only this file has."""
    namespace = path.rpartition("/")[0].replace("/", "\\")
    parts = [f"<?php\n\nnamespace {namespace};\n\n/** {path} */\nclass Generated {{\n\n"]
    length = len(parts[0])
    while length < size - 200:
        block = chance.choice(blocks)
        parts.append(block)
        length += len(block)
    text = "".join(parts)[: max(0, size - 80)] + f"\n// {chance.getrandbits(200):x}\n}}\n"
    return text.encode()[:size].ljust(size, b"\n")


def _method(chance: random.Random) -> str:
    first, second, verb, part, thing, key, field = (chance.choice(WORDS) for _ in range(7))
    lines = [
        f"  /**\n   * {verb.title()} the {part} of a {thing}, unless its {key} says otherwise.\n   */",
        f"  public function {first}{second.title()}({thing.title()}Interface ${thing}, array ${key} = []) {{",
    ]
    for _ in range(chance.randint(3, 12)):
        left, right, verb = (chance.choice(WORDS) for _ in range(3))
        number = chance.randrange(10_000)
        lines += [
            f"    if (isset(${key}['{left}']) && ${thing}->{verb}{right.title()}() > {number}) {{",
            f"      $this->{left}[] = $this->t('The @{right} was {verb} {number}', ['@{right}' => ${left}]);",
            "    }",
        ]
    return "\n".join([*lines, f"    return $this->{field} ?? NULL;", "  }", "", ""])
