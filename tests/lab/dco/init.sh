#!/bin/busybox sh
# shellcheck shell=dash
# First program of the client machine: loads the modules, then does what comes over the second
# serial line, one command a line, and says "done" and the status after each.
export PATH=/usr/sbin:/usr/bin
/bin/busybox --install -s /usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "init: $module cannot be loaded"
done
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1
echo "done 0" >&3
# Each in a shell of its own: an error of its syntax, or its "exit", ends the shell that reads it, and
# the kernel would panic when that is this one.
while read -r line <&3; do
    (eval "$line") </dev/null >&3 2>&1
    echo "done $?" >&3
done
echo "init: nothing more comes over the second serial line"
poweroff -f
