/**
 * /init of the initramfs: what makes a kernel and busybox a system that one can type into. What it understands on the kernel
 * command line is listed in docs/guests.md.
 */

/** Asks the terminal for its status (ECMA-48 DSR). With paravirt.input=pipe, /init sends it when it is ready for input. */
export const READY_QUERY = "\x1b[5n";

export const INIT = `#!/bin/sh
# Made by paravirt. Mounts what programs expect, then gives the console to a shell; when that ends, the machine is off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=0620,gid=5,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /run
ln -s /proc/self/fd /dev/fd 2>/dev/null
input=terminal name=paravirt
for word in $(cat /proc/cmdline); do
	case "$word" in
	paravirt.hostname=*) name=\${word#*=} ;;
	paravirt.term=*) TERM=\${word#*=} ;;
	paravirt.rows=*) stty rows "\${word#*=}" ;;
	paravirt.columns=*) stty columns "\${word#*=}" ;;
	paravirt.input=*) input=\${word#*=} ;;
	esac
done
hostname "$name"
ip link set lo up
cd /root
if [ "$input" = pipe ]; then
	# The console's input is a list of commands: no echo, no prompt, and its end is the end of the shell.
	stty -echo
	printf '\\033[5n'
	setsid cttyhack sh /dev/console
else
	export PS1='\\w \\$ '
	echo "Linux $(uname -r) in paravirt. Leave with 'exit'."
	setsid cttyhack sh
fi
sync
poweroff -f
`;
