/** What is typed at the shells of stock kernels, and what must come back. */
import { createHash } from "node:crypto";
import type { Check } from "./guest.ts";

const md5 = (data: string | Uint8Array): string => createHash("md5").update(data).digest("hex");
const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index + 1));
const ZEROS = md5(new Uint8Array(16 * 2 ** 20));

/** Run on one vCPU and on several. */
const EVERYWHERE: readonly Check[] = [
	{
		name: "fork storm",
		command: "i=0; while [ $i -lt 300 ]; do (exit 3) & i=$((i+1)); done; wait; echo $i; ps | wc -l >/tmp/left",
		expected: "300\n",
	},
	{
		name: "processes one after another",
		command: 'i=0; s=; while [ $i -lt 100 ]; do s=$s$(/bin/busybox echo -n $((i%10))); i=$((i+1)); done; echo "$s"',
		expected: `${"0123456789".repeat(10)}\n`,
	},
	{
		name: "pipes",
		command: "seq 1 20000 | grep 7 | sort -rn | tail -n +2 | head -n 1 | tr 79 ab",
		expected: "1bb8a\n",
	},
	{
		name: "single steps, breakpoint and watchpoint",
		command: "ptrace",
		expected: [
			"steps: ok",
			"signal 5, dr6 1, at the function",
			"signal 5, dr6 2, elsewhere",
			"signal 5, dr6 1, at the function",
			"exit 7, no failure",
			"",
		].join("\n"),
	},
	{
		name: "corners of the processor",
		command: "processor",
		expected: [
			"signal's return",
			"far jump",
			"null DS, access by SS",
			"DS",
			"null DS",
			"null FS",
			"null selectors",
			"step over a load of SS",
			"step over REP STOSB",
			"step over a system call",
			"underflow and denormal",
		]
			.map((name) => `${name} ok\n`)
			.join(""),
	},
	{
		name: "32-bit program",
		command: "i386; s=$?; tail -c +4091 /tmp/i386.data | head -n 1; (exit $s)",
		expected: `${["vdso", "decimal", "pusha", "thread", "x87", "longmode", "mmap", "segv", "fpe"]
			.map((name) => `${name} ok\n`)
			.join("")}mapped by a 32-bit program\n`,
	},
	{
		name: "hypervisor",
		command: "cd /sys/hypervisor; cat type version/major version/minor; cd",
		expected: "xen\n4\n17\n",
	},
	{
		name: "a pipe that breaks",
		command: "yes | head -n 100000 | md5sum",
		expected: `${md5("y\n".repeat(100000))}  -\n`,
	},
];

/** The state of the kernel after everything else. */
const AT_THE_END: readonly Check[] = [
	{ name: "not tainted", command: "cat /proc/sys/kernel/tainted", expected: "0\n" },
	{ name: "kernel log", command: "dmesg -r | grep -E '^<[0-3]>'", expected: "", status: 1 },
];

export const SESSION: readonly Check[] = [
	{ name: "uname", command: "uname -srm", expected: /^Linux \S+-amd64 x86_64\n$/ },
	{
		name: "files",
		command: [
			"mkdir -p /tmp/d/e; cd /tmp/d; for i in $(seq 100); do echo $i >e/$i; done; mv e f; ln f/1 h; ln -s f/2 s",
			"ls f | wc -l; stat -c %h h; cat s; cat f/* | sort -n | md5sum; chmod 640 s; stat -c %a f/2; cd; rm -r /tmp/d; ls /tmp",
		].join("\n"),
		expected: `100\n2\n2\n${md5(`${numbers(100).join("\n")}\n`)}  -\n640\n`,
	},
	{
		name: "much output",
		command: "seq 1 5000",
		expected: `${numbers(5000).join("\n")}\n`,
	},
	...EVERYWHERE,
	{
		name: "large files",
		command: [
			"dd if=/dev/zero of=/tmp/big bs=1M count=16 2>/dev/null; md5sum </tmp/big; cp /tmp/big /tmp/copy",
			"printf x | dd of=/tmp/copy bs=1 seek=9000000 conv=notrunc 2>/dev/null; cmp /tmp/big /tmp/copy; rm /tmp/big /tmp/copy",
		].join("\n"),
		expected: `${ZEROS}  -\n/tmp/big /tmp/copy differ: char 9000001, line 1\n`,
	},
	{
		name: "trap",
		command: "sh -c 'trap \"echo caught; exit 7\" TERM; kill -TERM $$; echo not reached'",
		expected: "caught\n",
		status: 7,
	},
	{ name: "kill", command: "sleep 100 & kill $!; wait $!", expected: /^/, status: 143 },
	{ name: "signal of a fault", command: "sh -c 'kill -SEGV $$'", expected: /^/, status: 139 },
	{
		name: "stop and continue",
		command: [
			"sleep 100 & p=$!; kill -STOP $p; sleep 0.1; grep State /proc/$p/status; kill -CONT $p; sleep 0.1",
			"grep State /proc/$p/status; kill $p; wait $p 2>/dev/null",
		].join("\n"),
		expected: "State:\tT (stopped)\nState:\tS (sleeping)\n",
		status: 143,
	},
	{
		name: "job control",
		command: [
			"set -m; sleep 100 & p=$!; jobs >/tmp/jobs; cut -d' ' -f5 /proc/$p/stat >/tmp/group; kill $p; wait $p 2>/dev/null; set +m",
			"grep -c 'Running *sleep' /tmp/jobs; [ $(cat /tmp/group) = $p ] && echo a group of its own",
		].join("\n"),
		expected: "1\na group of its own\n",
	},
	{
		name: "timer signal",
		command: "timeout -s INT 0.2 sh -c 'while :; do :; done'; echo $?",
		expected: /^(130|143|124)\n$/,
	},
	{
		name: "sleep",
		command: [
			"read a b </proc/uptime; sleep 2; sleep 0.5; read c b </proc/uptime",
			`awk -v a=$a -v c=$c 'BEGIN { d = c - a; print (d >= 2.49 && d < 2.7) ? "in time" : d }'`,
		].join("\n"),
		expected: "in time\n",
	},
	{
		name: "floating point",
		command: "awk 'BEGIN { for (i = 1; i < 20000; i++) s += 1 / (i * i); printf \"%.14f\\n\", s }'",
		expected: `${numbers(19999)
			.reduce((sum, i) => sum + 1 / Number(i) ** 2, 0)
			.toFixed(14)}\n`,
	},
	{
		name: "processor",
		command:
			"grep -c ^processor /proc/cpuinfo; grep -wo -m 1 sse4_2 /proc/cpuinfo; grep -wo -m 1 hypervisor /proc/cpuinfo",
		expected: "1\nsse4_2\nhypervisor\n",
	},
	{
		name: "proc",
		command: "grep -c '\\[vdso\\]' /proc/self/maps; grep -c hvc_console /proc/interrupts; readlink /proc/self/exe",
		expected: "1\n1\n/bin/busybox\n",
	},
	{
		name: "memory",
		command: "awk '/^MemTotal/ { print ($2 > 180000 && $2 < 262144) ? \"plausible\" : $2 }' /proc/meminfo",
		expected: "plausible\n",
	},
	{ name: "network of its own", command: "ping -c 2 -i 0.1 127.0.0.1 | grep -c 'bytes from'", expected: "2\n" },
	{
		name: "modules",
		command:
			"modprobe ext4 && modprobe 9p && modprobe overlay && lsmod | grep -oE '^(ext4|9p|overlay|jbd2|9pnet) ' | sort",
		expected: "9p \n9pnet \next4 \njbd2 \noverlay \n",
	},
	{
		name: "ext4 on a file",
		command: [
			"modprobe loop; dd if=/dev/zero of=/tmp/disk bs=1M count=8 2>/dev/null; mke2fs -F /tmp/disk >/dev/null",
			"mount -o loop -t ext4 /tmp/disk /mnt; seq 1 50000 >/mnt/seq; umount /mnt",
			"mount -o loop,ro -t ext4 /tmp/disk /mnt; md5sum </mnt/seq; umount /mnt; losetup -a; rm /tmp/disk",
		].join("\n"),
		expected: `${md5(`${numbers(50000).join("\n")}\n`)}  -\n`,
	},
	{
		name: "overlay",
		command: [
			"cd /tmp; mkdir low up work; echo one >low/a; mount -t overlay -o lowerdir=low,upperdir=up,workdir=work overlay /mnt",
			"echo two >>/mnt/a; cat /mnt/a low/a; umount /mnt; cat up/a; cd",
		].join("\n"),
		expected: "one\ntwo\none\none\ntwo\n",
	},
	...AT_THE_END,
];

/** For four vCPUs. */
export const PARALLEL_SESSION: readonly Check[] = [
	{ name: "nproc", command: "nproc; grep -c ^processor /proc/cpuinfo", expected: "4\n4\n" },
	{
		name: "work on each",
		command: "for c in 0 1 2 3; do taskset -c $c cut -d' ' -f39 /proc/self/stat; done",
		expected: "0\n1\n2\n3\n",
	},
	{
		name: "jobs at once",
		command: [
			"for c in 0 1 2 3; do dd if=/dev/zero bs=1M count=16 2>/dev/null | md5sum >/tmp/sum$c & done; wait",
			'cat /tmp/sum? | sort -u; awk \'/^cpu[0-9]/ { print ($2 + $4 > 0) ? "worked" : "idle" }\' /proc/stat',
		].join("\n"),
		expected: `${ZEROS}  -\n${"worked\n".repeat(4)}`,
	},
	...EVERYWHERE,
	{
		name: "pipelines at once",
		command: "for i in 1 2 3 4 5 6; do seq 1 20000 | sort -rn | md5sum & done >/tmp/sums; wait; sort -u /tmp/sums",
		expected: `${md5(`${numbers(20000).reverse().join("\n")}\n`)}  -\n`,
	},
	{
		name: "offline and online",
		command: [
			"echo 0 >/sys/devices/system/cpu/cpu3/online; nproc; echo 1 >/sys/devices/system/cpu/cpu3/online; nproc",
			"taskset -c 3 cut -d' ' -f39 /proc/self/stat",
		].join("\n"),
		expected: "3\n4\n3\n",
	},
	{
		name: "interrupts between processors",
		command: "awk '/resched/ { for (i = 2; i <= 5; i++) if ($i > 0) n++ } END { print n }' /proc/interrupts",
		expected: "4\n",
	},
	{ name: "modules", command: "modprobe overlay; lsmod | cut -d' ' -f1 | grep overlay", expected: "overlay\n" },
	...AT_THE_END,
];

/** For kernels whose release may have other drivers: that programs, modules and the hypervisor's files are there. */
export const SHORT_SESSION: readonly Check[] = [
	{ name: "uname", command: "uname -sm", expected: "Linux x86_64\n" },
	{ name: "forks", command: "for i in $(seq 50); do (exit 3) & done; wait; echo forked", expected: "forked\n" },
	{ name: "32-bit program", command: "i386 | grep -c ok", expected: "9\n" },
	{ name: "modules", command: "modprobe ext4 && lsmod | grep -o '^ext4'", expected: "ext4\n" },
	{ name: "hypervisor", command: "cat /sys/hypervisor/type", expected: "xen\n" },
	...AT_THE_END,
];
