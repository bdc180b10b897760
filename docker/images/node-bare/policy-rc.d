#!/bin/sh
# apt asks whether it may start what it installs. On a server it may, as on any Debian machine;
# while an image is built there is no server yet.
[ "$(cat /proc/1/comm)" = sshd ] || exit 101
