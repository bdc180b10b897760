# create_account.sh NAME UID GID HOME SHELL GROUP: user and group exist with these ids; the user is in GROUP, too.
# `*` is a password that nobody has. With `!`, the default, sshd would take the account for locked.
getent group "$1" >/dev/null || groupadd -g "$3" "$1"
getent passwd "$1" >/dev/null || useradd -M -N -u "$2" -g "$3" -d "$4" -s "$5" -p '*' "$1"
[ "$(getent passwd "$1" | cut -d : -f 7)" = "$5" ] || usermod -s "$5" "$1"
id -Gn "$1" | tr ' ' '\n' | grep -qxF "$6" || usermod -a -G "$6" "$1"
