/**
 * /init of the initramfs: what makes a kernel and busybox a system that one can type into. What it understands on the kernel
 * command line is listed in docs/guests.md. What runs on the console then is in session.ts.
 */
import { COMMAND_FILE, STATE_FILE } from "./session.ts";

/** Word of the command line for each folder of the host that is to be mounted: its tag, below /mnt. */
export const SHARE_WORD = "paravirt.share";
/** On the kernel's command line: /init runs the initramfs's COMMAND_FILE in place of a shell. */
export const COMMAND_WORD = "paravirt.command";

/** What busybox's uevent runs for each message of the kernel's: it loads the driver of what has come, as udev does. */
export const HOTPLUG_FILE = "etc/paravirt/hotplug";
export const HOTPLUG = `#!/bin/sh
[ "$ACTION" = add ] && [ -n "$MODALIAS" ] && exec modprobe -q "$MODALIAS"
`;

export const INIT = `#!/bin/busybox sh
# Made by paravirt. Mounts what programs expect, loads drivers, and leaves the rest to busybox's init.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux
busybox mount -t proc proc /proc
# Which programs there are, this busybox knows.
busybox --install -s /bin
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
# Drivers of what is attached while the guest runs.
uevent /${HOTPLUG_FILE} </dev/null >/dev/null 2>&1 &
listener=$!
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=0620,gid=5,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0755 tmpfs /run
ln -s /proc/self/fd /dev/fd 2>/dev/null
input=terminal command= root= inside= made=
name=paravirt shares= type= flags= mode=ro init=/sbin/init network=on
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
listening() {
	while read -r socket protocol process groups rest; do
		# The kernel's messages about devices are NETLINK_KOBJECT_UEVENT, 15.
		[ "$protocol $groups" != "15 00000001" ] || return 0
	done </proc/net/netlink
	return 1
}
# Drivers of what is there already: looked for as soon as what comes is listened for, so that nothing is missed.
load_drivers() {
	until listening || ! kill -0 "$listener" 2>/dev/null; do sleep 0.01; done
	aliases=
	for file in /sys/bus/xen/devices/*/modalias; do
		[ ! -e "$file" ] || { read -r alias <"$file"; aliases="$aliases $alias"; }
	done
	[ -z "$aliases" ] || modprobe -q -a $aliases
	# A disk is there a moment after its driver. One whose back end fails never is.
	tries=0
	for device in /sys/bus/xen/drivers/vbd/vbd-*; do
		while [ -e "$device" ] && [ ! -e "$device/block" ] && [ $tries -lt 100 ]; do
			sleep 0.01
			tries=$((tries + 1))
		done
	done
}
load_drivers
# A folder of the host can be mounted as soon as its device is connected, which takes a moment.
mount_share() {
	place=$2/mnt/$1
	[ -d "$place" ] || { mkdir -p "$place" && made="$made $place"; }
	for try in 1 2 3 4 5 6 7 8 9 10; do
		mount -t 9p -o trans=xen,version=9p2000.L "$1" "$place" 2>/dev/null && return
		sleep 0.2
	done
	echo "The shared folder $1 could not be mounted: mount -t 9p -o trans=xen $1 /mnt/$1"
}
# A command runs in the root file system without its init: it has what programs expect, and is mounted read-only at the end.
command_in_root() {
	mount -o remount,rw /sysroot
	for place in dev proc sys run; do mount --bind "/$place" "/sysroot/$place"; done
	mount -t devpts -o mode=0620,gid=5,ptmxmode=0666 devpts /sysroot/dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /sysroot/tmp
	cp "$command" /sysroot/run/paravirt-command
	for share in $shares; do mount_share "$share" /sysroot; done
	inside="chroot /sysroot" command=/run/paravirt-command
}
# Hands the machine over to the system on a disk, as initramfs-tools would. Returns where that cannot be.
boot_root() {
	case "$root" in LABEL=* | UUID=*) find="findfs $root" ;; *) find="ls $root" ;; esac
	tries=0
	until device=$($find 2>/dev/null); do
		tries=$((tries + 1))
		[ $tries -le 100 ] || { echo "paravirt: there is no $root"; return; }
		sleep 0.1
	done
	mkdir -p /sysroot
	mount \${type:+-t "$type"} -o "$mode$flags" "$device" /sysroot || return
	[ -e "/sysroot$init" ] || [ -h "/sysroot$init" ] || { echo "paravirt: $root has no $init"; umount /sysroot; return; }
	umount /dev/pts /dev/shm /tmp
	[ -z "$command" ] || { command_in_root; return; }
	for share in $shares; do echo "paravirt: to mount a shared folder: mount -t 9p -o trans=xen,version=9p2000.L $share DIRECTORY"; done
	kill "$listener"
	for place in dev proc sys run; do mount --move "/$place" "/sysroot/$place"; done
	exec switch_root /sysroot "$init"
}
[ -z "$root" ] || boot_root
[ -n "$inside" ] || for share in $shares; do mount_share "$share" ""; done
hostname "$name"
ip link set lo up
# The first network interface, where there is one, asks for its address; the answer is at once where the network has a NAT.
if [ "$network" = on ] && [ -d /sys/bus/xen/devices/vif-0 ]; then
	tries=0
	while [ ! -e /sys/class/net/eth0 ] && [ $tries -lt 20 ]; do sleep 0.1; tries=$((tries + 1)); done
	ip link set eth0 up && udhcpc -i eth0 -n -q -t 3 -T 1 -x "hostname:$name" >/dev/null 2>&1
fi
# What the session has to know, which is no part of its programs' environment; and the terminal, which init would call a vt102.
echo "TERM='$TERM' input='$input' command='$command' root='\${root:+given}' inside='$inside' made='$made'" >/${STATE_FILE}
# The console is the session's: what init says of itself goes nowhere where its output is a program's.
[ "$input" = terminal ] && [ -z "$command" ] || exec >/dev/null 2>&1
exec init
`;
