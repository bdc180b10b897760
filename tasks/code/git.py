"""Check a ref of a git repository out into a directory: shallow, bounded, without hooks and questions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tasks.code.local import run_local
from tasks.code.source import SourceSpec, split_user, without_secrets
from tasks.errors import PlanRefused, Unreachable
from tasks.result import Result

LOOK_SECONDS = 60.0
FETCH_SECONDS = 900.0
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
# What git says when a server did not answer; anything else is final.
_TRANSIENT = (
    "Could not resolve host",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "Failed to connect",
    "Operation too slow",
    "returned error: 5",
    "unexpected disconnect",
)


def resolve_ref(spec: SourceSpec) -> str:
    """Return the commit that the ref stands for now. Raises PlanRefused for a ref that is not there."""
    if _COMMIT.fullmatch(spec.ref):
        return spec.ref
    url, env = _address(spec)
    listed = _git(spec, ["ls-remote", "--", url, spec.ref, f"{spec.ref}^{{}}"], env, LOOK_SECONDS)
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.text.splitlines())}
    names = [f"refs/tags/{spec.ref}^{{}}", f"refs/tags/{spec.ref}", f"refs/heads/{spec.ref}", spec.ref]
    for name in names:
        if name in found:
            return found[name]
    raise PlanRefused(f"{without_secrets(url)} has no branch or tag {spec.ref!a}", "Look for a typing error")


def checkout(spec: SourceSpec, commit: str, directory: Path) -> None:
    """The files of `commit` are in `directory` (made by this call), submodules included, without .git."""
    url, env = _address(spec)
    _git(spec, ["init", "--quiet", "--", str(directory)], env, LOOK_SECONDS)
    inside = ["-C", str(directory)]
    shallow = [*inside, "fetch", "--quiet", "--no-tags", "--depth=1", "--", url, commit]
    if not _try_git(shallow, env, FETCH_SECONDS, spec.host).ok:
        # Not every server gives away a bare commit; then all branches and tags are asked for.
        everything = ["fetch", "--quiet", "--", url, "+refs/heads/*:refs/all/*", "+refs/tags/*:refs/tags/*"]
        _git(spec, [*inside, *everything], env, FETCH_SECONDS)
    _git(spec, [*inside, "checkout", "--quiet", "--detach", commit], env, FETCH_SECONDS)
    if (directory / ".gitmodules").exists():
        modules = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]
        _git(spec, [*inside, *modules], env, FETCH_SECONDS)


def _address(spec: SourceSpec) -> tuple[str, dict[str, str]]:
    """The URL without its user name, and an environment that carries it: argument lists are public.

    The password is git's to find, with the credential helpers of whoever the worker runs as.
    """
    url, user = split_user(spec.location)
    env = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=yes",
        "GIT_ALLOW_PROTOCOL": "http:https:ssh:git:file",
        "GIT_LFS_SKIP_SMUDGE": "0",
    }
    settings = {"core.hooksPath": "/dev/null", "http.lowSpeedLimit": "1000", "http.lowSpeedTime": "30"}
    settings["advice.detachedHead"] = "false"
    if user:
        scheme, _, rest = url.partition("://")
        settings[f"credential.{scheme}://{rest.partition('/')[0]}.username"] = user
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (name, value) in enumerate(settings.items()):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = name, value
    return url, env


def _try_git(words: list[str], env: Mapping[str, str], timeout: float, host: str) -> Result:
    return run_local(["git", *words], timeout=timeout, waiting_for=host, env=env)


def _git(spec: SourceSpec, words: list[str], env: Mapping[str, str], timeout: float) -> Result:
    result = _try_git(words, env, timeout, spec.host)
    if not result.ok:
        said = without_secrets("; ".join(result.error_text.splitlines()[-3:]))
        if any(sign in said for sign in _TRANSIENT):
            raise Unreachable(spec.host, f"git: {said}")
        raise PlanRefused(f"the repository {spec} cannot be used: {said}", "Nothing was touched on any node")
    return result
