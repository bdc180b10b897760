"""What keeps a server that was replaced from exporting when it comes back. Pure text.

The primary is switched off, the standby is promoted, and the primary boots while the controller is dead: it
cannot know that its epoch is old without asking somebody. So before nfsd starts it asks its peer, the one
machine that could have taken its place, for the peer's epoch (one TCP connection, 3 s; the answer is no more
secret or less true than what sec=sys believes). Three answers:
- the peer is a standby, or of no higher epoch: start. A plain reboot needs no flow and no controller.
- the peer serves under a higher epoch: this server is demoted, for good; nfsd starts without the share.
- no answer, or the peer is just taking over: nfsd does not start at all, and asks again every few seconds.
  Clients wait meanwhile as for a server that is off. Starting without the share would be worse: a client
  that finds no export gives its writers an error. The same goes for a disk that is still to be mounted: with
  `nofail` in fstab(5), nfsd is not ordered after it, and a check of it may take long.
The watch starts it again, and not Restart=: mountd is bound to nfsd (BindsTo=), and required by it, so when
nfsd fails mountd is stopped, and that takes back the restart (seen with systemd 252, nfs-utils 2.6.2). Nor
does the guard wait itself: a machine has not booted while it has a job to do.
A server is only asked to ask where there is somebody who could have taken over: the peer is written into its
record before the peer's says `standby`, and a server that was promoted has none until the other one has been
made a standby again. So of two servers the one that is left may reboot alone.
nfsd that is running goes on asking, every WATCH_SECONDS: a server that was cut off from everybody while it
was replaced, by a person who said that it was fenced, ends its exports as soon as it hears of that.
"""

from __future__ import annotations

from tasks.fencing.record import RECORDS
from tasks.servers.steps import WriteFile

EPOCH_PORT = 20490
RETRY_SECONDS = 3
WATCH_SECONDS = 10
GATE = "/usr/local/sbin/packmaster-gate"
SOCKET, WATCH = "packmaster-epoch.socket", "packmaster-watch.service"
WAITING = "/run/packmaster-nfsd-waits"
DROP_IN = "/etc/systemd/system/nfs-server.service.d"
_HEAD = "# Written by Packmaster (flow provision-pack): changes made here are undone by its next run."

_SCRIPT = rf"""#!/bin/sh
{_HEAD}
# tell: what is recorded here, `SHARE EPOCH ROLE` a line. guard: fails while nfsd must not start. watch:
# starts it as soon as it may, and ends what is exported as soon as another server does it.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
records={RECORDS} waiting={WAITING}

field() {{ sed -n "s/^$2 //p" "$records/$1"; }}
shares() {{ for file in "$records"/*; do [ ! -f "$file" ] || echo "${{file##*/}}"; done; }}

tell() {{
    for share in $(shares); do echo "$share $(field "$share" epoch) $(field "$share" role)"; done
    echo end
}}

# Nothing unless the answer came whole.
ask() {{
    answer=$(timeout -k 1 3 bash -c 'exec 3<>"/dev/tcp/$1/{EPOCH_PORT}" && cat <&3' ask "$1" 2>/dev/null)
    case $answer in *end) printf '%s\n' "$answer" ;; esac
}}

# SHARE: allow, withhold, demote, or wait and why.
judge() {{
    mine=$(field "$1" epoch) peer=$(field "$1" peer)
    [ "$(field "$1" role)" = primary ] || {{ echo withhold; return; }}
    [ -n "$peer" ] || {{ echo allow; return; }}
    theirs=$(ask "$peer" | awk -v share="$1" '$1 == share {{ print $2, $3 }}')
    role=${{theirs#* }} epoch=${{theirs%% *}}
    case $role in
        '') echo "wait: $peer does not say who serves it" ;;
        taking-over) echo "wait: $peer is taking over" ;;
        *)
            if [ "$epoch" -gt "$mine" ]; then echo demote
            elif [ "$role" = primary ] && [ "$epoch" -eq "$mine" ]; then echo "wait: $peer serves it, too"
            else echo allow; fi ;;
    esac
}}

# SHARE: what its file lists is exported no more, and the file is gone.
close() {{
    file=/etc/exports.d/packmaster-$1.exports
    [ -f "$file" ] || return 0
    grep -v '^#' "$file" | while read -r path spec; do
        client=${{spec%%(*}}
        case $client in *:*/*) client="[${{client%/*}}]/${{client##*/}}" ;; *:*) client="[$client]" ;; esac
        exportfs -u "$client:$path" >/dev/null 2>&1 || :
    done
    rm -f "$file"
    exportfs -f 2>/dev/null || :
}}

demote() {{
    sed 's/^role .*/role fenced/' "$records/$1" >"$records/.$1.new"
    sync "$records/.$1.new"
    mv "$records/.$1.new" "$records/$1"
    close "$1"
    echo "share $1 is served elsewhere, under a higher epoch: it is not exported here any more" >&2
}}

# SHARE: the directory that it lies on and that systemd has yet to mount, as a disk that is checked first.
unmounted() {{
    file=/etc/exports.d/packmaster-$1.exports
    for path in $(sed -n 's|^\(/[^ ]*\) .*|\1|p' "$file" 2>/dev/null | sort -u); do
        while [ -n "$path" ]; do
            unit=$(systemd-escape --path --suffix=mount "$path")
            job=$(systemctl show --property=Job --value "$unit" 2>/dev/null)
            [ "${{job:-0}}" = 0 ] || {{ echo "$path"; return; }}
            path=${{path%/*}}
        done
    done
}}

# What nfsd has to wait for, in words.
check() {{
    for share in $(shares); do
        said=$(judge "$share")
        case $said in
            allow)
                path=$(unmounted "$share")
                [ -z "$path" ] || printf ' share %s: %s is still to be mounted;' "$share" "$path"
                ;;
            withhold) close "$share" ;;
            demote) demote "$share" ;;
            *) printf ' share %s: %s;' "$share" "$said" ;;
        esac
    done
}}

guard() {{
    waits=$(check)
    [ -n "$waits" ] || {{ rm -f "$waiting"; return; }}
    touch "$waiting"
    echo "nfsd must not start yet:$waits" >&2
    return 1
}}

watch() {{
    while if [ -e "$waiting" ]; then sleep {RETRY_SECONDS}; else sleep {WATCH_SECONDS}; fi; do
        if [ -e "$waiting" ] && [ -z "$(check)" ]; then
            rm -f "$waiting"
            systemctl start --no-block nfs-server
        fi
        for share in $(shares); do
            [ "$(judge "$share")" = demote ] || continue
            demote "$share"
            # Nobody else's clients lose a server.
            [ -s /var/lib/nfs/etab ] || systemctl stop nfs-server
        done
    done
}}

case ${{1:-}} in tell | guard | watch) "$1" ;; *) echo "tell, guard or watch?" >&2; exit 2 ;; esac
"""

_DROP_IN = f"""{_HEAD}
[Unit]
Wants={SOCKET} {WATCH}
After={SOCKET}

[Service]
ExecStartPre={GATE} guard
# The unit's own came before the guard, and may have found a disk that was not mounted yet.
ExecStartPre=-/usr/sbin/exportfs -r
TimeoutStartSec=90
"""

_SOCKET = f"""{_HEAD}
[Unit]
Description=Say which shares of Packmaster's are served here, and under which epoch

[Socket]
ListenStream={EPOCH_PORT}
Accept=yes
MaxConnections=16

[Install]
WantedBy=sockets.target
"""

_ANSWER = f"""{_HEAD}
[Unit]
Description=Say which shares of Packmaster's are served here

[Service]
ExecStart=-{GATE} tell
StandardOutput=socket
TimeoutStopSec=5
RuntimeMaxSec=5
"""

_WATCH = f"""{_HEAD}
[Unit]
Description=Start nfsd that had to wait, and end Packmaster's exports when another server has taken over
After=network-online.target

[Service]
ExecStart={GATE} watch
Restart=always
RestartSec=10
"""

GATE_FILES = (
    WriteFile(GATE, _SCRIPT, 0o755),
    WriteFile(f"/etc/systemd/system/{SOCKET}", _SOCKET, 0o644),
    WriteFile("/etc/systemd/system/packmaster-epoch@.service", _ANSWER, 0o644),
    WriteFile(f"/etc/systemd/system/{WATCH}", _WATCH, 0o644),
    WriteFile(f"{DROP_IN}/packmaster.conf", _DROP_IN, 0o644),
)
