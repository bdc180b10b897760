"""The repo's own rules about its source, held by reading the source."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("blocks", "deployments", "flows", "tasks")
MODULE_LINES = 250
# Forty lines of work: a docstring is not counted, for a flow's `Args:` are the form that people see.
FUNCTION_LINES = 40
IMPURE = frozenset({"prefect", "paramiko", "pymysql", "os", "time", "subprocess", "socket"})
VAGUE_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "common", "misc"})
# Where a secret may be looked at: its last call, or where it is written for the one who needs it.
MAY_READ_SECRETS = frozenset(
    {
        "blocks/mail.py",  # the login at the mail server
        "tasks/handshake.py",  # the login
        "tasks/code/openssh.py",  # the same login, for ssh(1)
        "tasks/grants/apply.py",  # the account's password, as an argument of the driver
        "tasks/grants/compare.py",  # is what is stored of a password that of the one that is wanted?
        "tasks/grants/connection.py",  # the database's admin and the site's own login
        "tasks/grants/digests.py",  # what MySQL stores of a password
        "tasks/grants/drift.py",  # do two servers store the same?
        "tasks/grants/grant_plan.py",  # a fingerprint of what was read, digests included
        "tasks/grants/passwords.py",  # what MariaDB stores of a password
        "tasks/grants/settled.py",  # is what is stored the same at every host, and that of the wanted one?
        "tasks/grants/rotate.py",  # which of two passwords is it that is stored?
        "tasks/grants/statements.py",  # what is stored, in the statement that sets it
        "tasks/sites/install.py",  # the installer's environment, over standard input
        "tasks/sites/plan.py",  # the seed of a settings file
        "tasks/web/apply.py",  # the vhost, mode 0600
        "tasks/web/vhost.py",  # the environment inside it
    }
)


def tracked_files() -> list[Path]:
    """What is, or is about to be, in the repository: nothing generated, nothing of an editor's."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    names = listed.stdout.decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file()]


FILES = tracked_files()
MODULES = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES]
PLANS = [path for path in MODULES if path.name == "plan.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def imports_of(path: Path) -> set[str]:
    """Dotted names of everything a module imports, wherever in it; relative imports made absolute."""
    package = list(path.relative_to(ROOT).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def module_file(dotted: str) -> Path | None:
    path = ROOT.joinpath(*dotted.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def siblings_of(plan: Path) -> set[Path]:
    """`plan` and the modules of its own package that it imports, and those that they import."""
    todo, seen = [plan], {plan}
    while todo:
        for dotted in imports_of(todo.pop()):
            path = module_file(dotted)
            if path and path.parent == plan.parent and path.name != "__init__.py" and path not in seen:
                seen.add(path)
                todo.append(path)
    return seen


@cache
def functions_of(path: Path) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, ...]:
    nodes = ast.walk(parse(path))
    return tuple(node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def work_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_there_is_source_to_look_at() -> None:
    assert len(MODULES) > 20
    assert PLANS


@pytest.mark.parametrize("plan", PLANS, ids=name_of)
def test_a_plan_is_pure(plan: Path) -> None:
    for path in siblings_of(plan):
        impure = {dotted.split(".")[0] for dotted in imports_of(path)} & IMPURE
        assert not impure, f"{name_of(path)}, which {name_of(plan)} stands on, imports {', '.join(impure)}"


@pytest.mark.parametrize("plan", PLANS, ids=name_of)
def test_a_plan_opens_no_file(plan: Path) -> None:
    touching = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "mkdir", "iterdir"}
    calls = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(parse(plan))
        if isinstance(node, ast.Call)
    }
    assert not calls & touching


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_one_idea(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{name_of(path)} has {lines} lines: a bigger one is two ideas"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_its_functions_are_short(path: Path) -> None:
    long = {f.name: work_lines(f) for f in functions_of(path) if work_lines(f) > FUNCTION_LINES}
    assert not long, f"{name_of(path)}: {long}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
        return  # it only makes a directory a package
    assert ast.get_docstring(parse(path)), f"{name_of(path)} has no docstring"


def test_nothing_has_a_name_that_says_nothing() -> None:
    vague = [name_of(path) for path in FILES if path.suffix == ".py" and path.stem in VAGUE_NAMES]
    vague += [name_of(path) for path in MODULES if set(path.parent.parts) & VAGUE_NAMES]
    vague += [
        f"{name_of(path)}: {node.name}"
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and node.name.lower().endswith(("manager", "helper", "utils"))
    ]
    assert not vague


def test_docker_is_not_a_package() -> None:
    """It would shadow the docker package that Prefect imports."""
    assert not [name_of(path) for path in FILES if path.parts[-1] == "__init__.py" and "docker" in path.parts]


def test_no_flow_module_hides_one_of_python() -> None:
    import sys

    hiding = [
        name_of(path)
        for path in MODULES
        if path.parent == ROOT / "flows" and path.stem in sys.stdlib_module_names
    ]
    assert not hiding, "Prefect puts the folder of a flow on sys.path"


def test_secrets_are_read_at_their_last_call_only() -> None:
    reading = {name_of(path) for path in MODULES if ".get_secret_value(" in path.read_text(encoding="utf-8")}
    assert reading <= MAY_READ_SECRETS, f"not allowed to: {sorted(reading - MAY_READ_SECRETS)}"
    assert reading >= MAY_READ_SECRETS, f"take off the list: {sorted(MAY_READ_SECRETS - reading)}"


def test_only_host_steps_of_our_own_kind_reach_a_host() -> None:
    """A bare @task would neither retry by type nor keep the host's outcome."""
    bare = [
        f"{name_of(path)}: {function.name}"
        for path in MODULES
        if path.relative_to(ROOT).parts[0] == "tasks"
        for function in functions_of(path)
        for decorator in function.decorator_list
        if (called := decorator.func if isinstance(decorator, ast.Call) else decorator)
        and isinstance(called, ast.Name)
        and called.id == "task"
        and (names := {argument.arg for argument in function.args.args}) & {"node", "nodes", "server"}
        and names
    ]
    assert not bare


FORBIDDEN = {
    "host keys are always checked": (
        r"AutoAddPolicy|WarningPolicy|StrictHostKeyChecking[= ]+(no|off|accept-new)"
        r"|UserKnownHostsFile[= ]+/dev/null"
    ),
    "quoting happens in the transport": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "no developer's machine": rf"(?<![\w.]){re.escape(str(ROOT))}(?![\w-])|/Users/\w+/|file:///home/",
    "no package index": r"(?i)--(extra-)?index-url|PIP_INDEX_URL\s*=\s*\S|trusted-host",
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_forbidden_text_is_nowhere(rule: str) -> None:
    pattern = re.compile(FORBIDDEN[rule])
    here = Path(__file__).resolve()
    found = []
    for path in FILES:
        text = "" if path == here else path.read_bytes().decode("utf-8", "replace")
        lines = text.splitlines()
        found += [f"{name_of(path)}:{n}: {line}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    assert not found, rule


def test_every_error_is_of_our_tree() -> None:
    """A flow tells its own failures from bugs by their root."""
    errors = [
        f"{name_of(path)}: {node.name}"
        for path in MODULES
        if name_of(path) != "tasks/errors.py"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in {"Exception", "ValueError"} for base in node.bases)
    ]
    assert not errors
