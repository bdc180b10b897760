"""The steps on a node: stage, test, switch, reload, prune. Each has one effect and can be repeated.

`live` is a link that is replaced by rename, and a generation is complete before it gets its name. So a host
that is killed at any moment has the old configuration or the new one, and installing again finishes it.
"""

from __future__ import annotations

import io
import tarfile

from tasks.errors import CommandFailed
from tasks.fleet import CONFIG, ServerKind
from tasks.scripts import CONTROL
from tasks.ssh import Ssh
from tasks.web.plan import WebPlan

TEST_HELPER = "/usr/local/sbin/packmaster-test-config"
SERVICES: dict[ServerKind, str] = {"apache": "apache2", "nginx": "nginx"}

# A generation that is there and intact is used as it is; a half-made one has no name that anything looks for.
_STAGE = r"""
cd "$1/generations"; generation=$2; live=$3; shift 3
umask 077
rm -rf .new; mkdir .new
tar -xf - -C .new
intact() {
    [ -d "$1" ] && cmp -s .new/digests "$1/digests" && cmp -s .new/manifest "$1/manifest" &&
        (cd "$1" && sha256sum --check --strict --quiet digests >/dev/null 2>&1) &&
        [ "$(find "$1" -maxdepth 1 -name '*.conf' | wc -l)" = "$(wc -l <"$1/digests")" ]
}
if intact "$generation"; then
    rm -rf .new
else
    if [ "$(basename "$(readlink ../live)")" = "$generation" ]; then
        echo "the live generation was altered while this run worked on it: run again" >&2; exit 1
    fi
    for name; do cp -a -- "$live/$name" .new/; done
    if ! intact .new; then
        echo "the live configuration was altered while this run copied it: run again" >&2; exit 1
    fi
    sync .new/* .new
    rm -rf "./$generation"
    mv -T .new "$generation"
    sync .
fi
ln -sfn "generations/$generation" ../staged.new
mv -T ../staged.new ../staged
"""
_SWITCH = r"""
cd "$1"; generation=$2
[ -d "generations/$generation" ]
[ "$(readlink live || true)" = "generations/$generation" ] && exit 0
ln -sfn "generations/$generation" live.new
mv -T live.new live
sync .
"""
# Starting what runs does nothing. Asking first is no help: nginx's own test can leave a pid file that only
# root may read, and then `status` says to everybody else that it does not run.
_RELOAD = f"""
{CONTROL}
control start "$1"
control reload "$1"
"""
_PRUNE = r"""
cd "$1/generations"; shift
live=$(basename "$(readlink ../live)"); staged=$(basename "$(readlink ../staged || true)")
for name; do
    if [ "$name" != "$live" ] && [ "$name" != "$staged" ]; then rm -rf "./$name"; fi
done
rm -rf .new
"""


def stage_generation(ssh: Ssh, plan: WebPlan) -> None:
    """The generation is on the node's disk, complete and checked, and `staged` points to it."""
    ssh.run_script(
        _STAGE,
        CONFIG,
        plan.generation,
        plan.live or "",
        *plan.kept,
        stdin=_pack_generation(plan),
        timeout=120,
        meaning="the new configuration cannot be written",
    )


def test_staged(ssh: Ssh, plan: WebPlan) -> None:
    """The server itself has accepted the staged configuration together with everything else it is given.

    Raises CommandFailed with the server's own words; the live configuration is as it was.
    """
    result = ssh.run(["sudo", "-n", TEST_HELPER], check=False)
    if result.ok:
        return
    if result.error_text.startswith("sudo:"):
        raise CommandFailed(result, "the configuration cannot be tested; run prepare-server on this node")
    printed = result.error_text + result.text
    by_hand = [s.name for s in plan.steps if s.action in {"unknown", "altered"} and s.name in printed]
    meaning = f"{SERVICES[plan.kind]} refuses the new configuration, so the live one was not touched"
    if by_hand:
        meaning += f" ({CONFIG}/live/{by_hand[0]} was put there or altered by hand: mend it, or take it away)"
    raise CommandFailed(result, meaning)


def switch_generation(ssh: Ssh, generation: str) -> None:
    """`live` points to `generation`; there is no moment in which it points to nothing."""
    ssh.run_script(_SWITCH, CONFIG, generation, meaning="the live configuration cannot be switched")


def reload_web(ssh: Ssh, kind: ServerKind) -> None:
    """The web server was told to load the live configuration, or was started when it did not run."""
    service = SERVICES[kind]
    ssh.run_script(_RELOAD, service, meaning=f"{service} cannot be reloaded")


def prune_generations(ssh: Ssh, plan: WebPlan) -> None:
    """The plan's old generations are gone; what is live or staged never is."""
    ssh.run_script(_PRUNE, CONFIG, *plan.prune, meaning="old configurations cannot be removed")


def _pack_generation(plan: WebPlan) -> bytes:
    """The files to write, with the lists they are checked by, as a tar archive."""
    files = {name: content.get_secret_value().encode() for name, content in plan.contents}
    files["digests"] = _list_digests(plan.digests)
    files["manifest"] = _list_digests(plan.recorded)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _list_digests(digests: tuple[tuple[str, str], ...]) -> bytes:
    """Lines as sha256sum(1) writes and checks them."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests).encode("utf-8", "surrogateescape")
