"""The last thing that is ours on a node that leaves: the key that lets us in."""

from __future__ import annotations

from tasks.membership.facts import public_key
from tasks.outcome import Outcome
from tasks.servers.managed import AUTHORIZED_KEYS
from tasks.ssh import Ssh

# $1: TYPE BASE64, $2: file. Others' keys stay. A line may begin with options, and end with a comment.
_REVOKE = """
key=$1 file=$2
[ -f "$file" ] && grep -qF -- "$key" "$file" || exit 0
umask 077
rm -f -- "$file.new"
grep -vF -- "$key" "$file" >"$file.new" || [ $? = 1 ]
mv -T -- "$file.new" "$file"
echo changed
"""


def revoke_key(ssh: Ssh) -> Outcome:
    """The platform user does not let in our key any more; with it ends what can be done on the node."""
    result = ssh.run_script(_REVOKE, public_key(ssh), AUTHORIZED_KEYS, meaning="our key cannot be removed")
    changed = bool(result.out)
    return Outcome(ssh.node.name, "remove key", changed, "we are not let in any more" if changed else "gone")
