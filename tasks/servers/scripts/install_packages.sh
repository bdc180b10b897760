# install_packages.sh PACKAGE...: they are installed and configured, and none of their services was started.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

trap restore_policy EXIT
if ! policy_is_ours; then
    [ ! -e "$policy" ] || mv -f "$policy" "$policy.kept"
    printf '#!/bin/sh\n# packmaster: nothing starts before it is configured\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
fi
# The list's lock is not covered by DPkg::Lock::Timeout in every version of apt.
tries=0
until said=$(apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 update 2>&1); do
    tries=$((tries + 1))
    case $said in *'Could not get lock'*) ;; *) tries=99 ;; esac
    if [ "$tries" -ge 24 ]; then
        printf '%s\n' "$said" >&2
        exit 1
    fi
    sleep 5
done
# A server may have other uses: rather than remove one package for another, it fails, and says which.
apt() {
    said=$(apt-get -q -y --no-install-recommends --no-remove \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
        "$@" </dev/null) && return
    printf '%s\n' "$said" | sed -n '/REMOVED:$/,/^[^ ]/{ /REMOVED:$/p; /^ /p }' >&2
    return 1
}
# What a killed run left half-configured is finished first; apt-get install would refuse to. It may also have
# unpacked what needs packages that it did not come to, or a package that others need was removed by force.
dpkg --configure -a --force-confdef --force-confold >/dev/null </dev/null || :
apt --fix-broken install
apt install "$@"
