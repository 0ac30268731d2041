/**
 * What runs on a guest's console in our initramfs, below busybox's init: a shell, a list of commands that is typed, or a command whose
 * exit status is told to the host; and how the machine ends.
 */

/** Asks the terminal for its status (ECMA-48 DSR). With paravirt.input=pipe, the session sends it when it is ready for input. */
export const READY_QUERY = "\x1b[5n";

/** Node below /local/domain/ID where the host says how large the terminal is: rows, a space, columns. */
export const SIZE_NODE = "data/terminal-size";
/** Node below /local/domain/ID where a command's exit status is written, in decimal digits. */
export const STATUS_NODE = "data/exit-status";

export const COMMAND_FILE = "etc/paravirt-command";
export const SESSION_FILE = "etc/paravirt/session";
/** Variables of /init's. */
export const STATE_FILE = "etc/paravirt/state";
export const UNMOUNT_FILE = "etc/paravirt/unmount";

/** busybox's init asks for no more: a session that was killed comes again. Halting is what its halt, poweroff and reboot ask for. */
export const INITTAB = `console::respawn:/${SESSION_FILE}
::ctrlaltdel:/sbin/reboot
::shutdown:/${UNMOUNT_FILE}
`;

/** What is mounted from a disk is left clean. */
export const UNMOUNT = `#!/bin/sh
while read -r device place rest; do
	case "$device" in
	/dev/*) umount "$place" 2>/dev/null || mount -o remount,ro "$place" 2>/dev/null ;;
	esac
done </proc/mounts
sync
`;

/**
 * Programs by which the kernel (when xenstore's control/shutdown says so) and the session end the machine, at once. Who types these names
 * in busybox's shell gets busybox's own, which ask init.
 */
export const ENDING_PROGRAMS = ["halt", "poweroff", "reboot"];

export function endingProgram(name: string): string {
	return `#!/bin/sh\n/${UNMOUNT_FILE}\nexec busybox ${name} -f "$@"\n`;
}

/** shutdown(8), for who is used to it: there is nobody to wait for. */
export const SHUTDOWN = `#!/bin/sh
action=poweroff
for word; do
	case "$word" in
	-r | --reboot) action=reboot ;;
	-H | --halt) action=halt ;;
	-h | -P | --poweroff | now | +0) ;;
	*) echo "shutdown: only now: shutdown [-h | -P | -H | -r] now" >&2; exit 1 ;;
	esac
done
exec busybox $action
`;

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

export const SESSION = `#!/bin/sh
# Made by paravirt. When this ends, the machine is off.
export HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin
. /${STATE_FILE}
cd /root
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
if [ -n "$command" ]; then
	# Without the file system that it belongs in, it has no status.
	[ -z "$root" ] || [ -n "$inside" ] || exec /sbin/poweroff
	# What it prints comes through as it is where it goes into a pipe.
	[ "$input" != pipe ] || { stty -echo -onlcr; printf '\\033[5n'; }
	setsid cttyhack $inside "$command"
	status=$?
	if [ -n "$inside" ]; then
		for place in $made; do umount "$place" && rmdir "$place"; done
	fi
	exec 3<>/dev/xen/xenbus
	printf '${storeMessage(WRITE, `${STATUS_NODE}${NUL}%03d`)}' $status >&3
	# Its reply: that it has been written.
	dd bs=16 count=1 <&3 >/dev/null 2>&1
elif [ "$input" = pipe ]; then
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
exec /sbin/poweroff
`;
