/**
 * /init of the initramfs: what makes a kernel and busybox a system that one can type into. What it understands on the kernel
 * command line is listed in docs/guests.md.
 */

/** Asks the terminal for its status (ECMA-48 DSR). With paravirt.input=pipe, /init sends it when it is ready for input. */
export const READY_QUERY = "\x1b[5n";

/** Node below /local/domain/ID where the host says how large the terminal is: rows, a space, columns. */
export const SIZE_NODE = "data/terminal-size";

/** Word of the command line for each folder of the host that is to be mounted: its tag, below /mnt. */
export const SHARE_WORD = "paravirt.share";
/** On the kernel's command line: /init runs the initramfs's COMMAND_FILE in place of a shell. */
export const COMMAND_WORD = "paravirt.command";
export const COMMAND_FILE = "etc/paravirt-command";
/** Node below /local/domain/ID where /init then writes the exit status, in decimal digits. */
export const STATUS_NODE = "data/exit-status";

/** A message to xenstore (public/io/xs_wire.h) as an argument of the shell's printf: request and transaction 0. */
function storeMessage(type: number, payload: string): string {
	const word = (value: number): string => `\\${value.toString(8).padStart(3, "0")}\\000\\000\\000`;
	// As printf will print it.
	const length = payload.replaceAll("\\000", "0").replaceAll("%03d", "000").length;
	return [word(type), word(0), word(0), word(length), payload].join("");
}
const NUL = "\\000";
/** XS_READ, XS_WATCH and XS_WRITE; answers are of the same types, XS_WATCH_EVENT is 15. */
const READ = 2;
const WATCH = 4;
const WRITE = 11;
const WATCH_EVENT = 15;

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
input=terminal name=paravirt shares= command= root= type=ext4 flags= mode=ro init=/sbin/init network=on
for word in $(cat /proc/cmdline); do
	case "$word" in
	paravirt.hostname=*) name=\${word#*=} ;;
	paravirt.term=*) TERM=\${word#*=} ;;
	paravirt.rows=*) stty rows "\${word#*=}" ;;
	paravirt.columns=*) stty columns "\${word#*=}" ;;
	${SHARE_WORD}=*) shares="$shares \${word#*=}" ;;
	paravirt.input=*) input=\${word#*=} ;;
	${COMMAND_WORD}) command=/${COMMAND_FILE} ;;
	root=*) root=\${word#*=} ;;
	rootfstype=*) type=\${word#*=} ;;
	rootflags=*) flags=,\${word#*=} ;;
	init=*) init=\${word#*=} ;;
	ro | rw) mode=$word ;;
	paravirt.net=*) network=\${word#*=} ;;
	esac
done
# A command runs in the root file system without its init: it has what programs expect, and is mounted read-only at the end.
command_in_root() {
	mount -o remount,rw /sysroot
	for place in dev proc sys run; do mount --bind "/$place" "/sysroot/$place"; done
	mount -t devpts -o mode=0620,gid=5,ptmxmode=0666 devpts /sysroot/dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /sysroot/tmp
	cp "$command" /sysroot/run/paravirt-command
	inside="chroot /sysroot" command=/run/paravirt-command
}
inside=
# Hands the machine over to the system on a disk, as initramfs-tools would. Returns where that cannot be.
boot_root() {
	modprobe -a xen-blkfront xen-netfront "$type"
	case "$root" in LABEL=* | UUID=*) find="findfs $root" ;; *) find="ls $root" ;; esac
	tries=0
	# The disk comes when its driver has met the back end.
	until device=$($find 2>/dev/null); do
		tries=$((tries + 1))
		[ $tries -le 100 ] || { echo "paravirt: there is no $root"; return; }
		sleep 0.1
	done
	mkdir -p /sysroot
	mount -t "$type" -o "$mode$flags" "$device" /sysroot || return
	[ -e "/sysroot$init" ] || [ -h "/sysroot$init" ] || { echo "paravirt: $root has no $init"; umount /sysroot; return; }
	umount /dev/pts /dev/shm /tmp
	[ -z "$command" ] || { command_in_root; return; }
	for place in dev proc sys run; do mount --move "/$place" "/sysroot/$place"; done
	exec switch_root /sysroot "$init"
}
[ -z "$root" ] || boot_root
# The console's protocol does not carry the size of the terminal: the host writes it to xenstore, which is watched for it.
follow_size() {
	exec 3<>/dev/xen/xenbus || return
	printf '${storeMessage(WATCH, `${SIZE_NODE}${NUL}s${NUL}`)}' >&3
	while set -- $(dd bs=16 count=1 <&3 2>/dev/null | od -An -v -t u4) && [ $# = 4 ]; do
		body=$(dd bs="$4" count=1 <&3 2>/dev/null | tr '\\000' ' ')
		case $1 in
		${WATCH_EVENT}) printf '${storeMessage(READ, `${SIZE_NODE}${NUL}`)}' >&3 ;;
		${READ}) stty -F /dev/console rows "\${body% *}" columns "\${body#* }" ;;
		esac
	done
}
# A folder of the host can be mounted as soon as its device is connected, which takes a moment.
mount_share() {
	mkdir -p "/mnt/$1"
	for try in 1 2 3 4 5 6 7 8 9 10; do
		mount -t 9p -o trans=xen,version=9p2000.L "$1" "/mnt/$1" 2>/dev/null && return
		sleep 0.2
	done
	echo "The shared folder $1 could not be mounted: mount -t 9p -o trans=xen $1 /mnt/$1"
}
[ -z "$shares" ] || modprobe 9pnet_xen
for share in $shares; do mount_share "$share"; done
hostname "$name"
ip link set lo up
# The first network interface, where there is one, asks for its address; the answer is at once where the network has a NAT.
if [ "$network" = on ] && [ -d /sys/bus/xen/devices/vif-0 ]; then
	modprobe xen-netfront 2>/dev/null
	tries=0
	while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
	ip link set eth0 up && udhcpc -i eth0 -n -q -t 3 -T 1 -x "hostname:$name" >/dev/null 2>&1
fi
cd /root
if [ -n "$command" ]; then
	# Without the file system that it belongs in, it has no status.
	[ -z "$root" ] || [ -n "$inside" ] || poweroff -f
	# What it prints comes through as it is where it goes into a pipe.
	[ "$input" != pipe ] || { stty -echo -onlcr; printf '\\033[5n'; }
	setsid cttyhack $inside "$command"
	status=$?
	[ -z "$inside" ] || { sync; mount -o remount,ro /sysroot; }
	exec 3<>/dev/xen/xenbus
	printf '${storeMessage(WRITE, `${STATUS_NODE}${NUL}%03d`)}' $status >&3
	# Its reply: that it has been written.
	dd bs=16 count=1 <&3 >/dev/null 2>&1
	sync
	poweroff -f
fi
if [ "$input" = pipe ]; then
	# The console's input is a list of commands: no echo, no prompt, and its end is the end of the shell.
	stty -echo
	printf '\\033[5n'
	setsid cttyhack sh /dev/console
else
	export PS1='\\w \\$ '
	follow_size </dev/null >/dev/null 2>&1 &
	echo "Linux $(uname -r) in paravirt. Leave with 'exit'."
	setsid cttyhack sh
fi
sync
poweroff -f
`;
