/**
 * Files of disks on Node.js. Reads and writes are done at once: they are mostly copies to and from the host's page cache, which take less
 * time than handing them to a thread. What waits for a device (fdatasync, punching holes) is left to threads and helpers, unless the run is
 * to be repeatable. While a file is open nobody else can have it: the lock is flock(2)'s, taken by util-linux's flock(1) on our
 * descriptor, so that it ends with this process however that ends.
 */
import { type StdioOptions, spawn, spawnSync } from "node:child_process";
import {
	closeSync,
	constants,
	fdatasync,
	fdatasyncSync,
	fstatSync,
	ftruncateSync,
	openSync,
	readFileSync,
	readSync,
	readvSync,
	unlinkSync,
	writeSync,
	writevSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { BlockError, type BlockFile, type BlockFiles, type Done, type OpenOptions } from "../../devices/block/image.ts";
import { explainDirectory, temporaryDirectory, variableRemedy } from "./directories.ts";
import { findProgram } from "./programs.ts";

/** Linux's file systems free whole pages. */
const HOLE = 4096;

export interface NodeBlockFilesOptions {
	/** Do everything at once, so that a run with the deterministic clock repeats. */
	readonly synchronous?: boolean;
}

/** A range to be punched. */
interface Hole {
	readonly start: number;
	readonly end: number;
	done(): void;
}
/** Ranges for one helper. */
const MOST_HOLES = 64;
const PUNCH = 'while [ $# -gt 0 ]; do fallocate --punch-hole --offset "$1" --length "$2" /dev/fd/3; shift 2; done';

/** Arguments of a shell that punches holes into its descriptor 3. */
function punchArguments(holes: readonly Hole[]): string[] {
	return ["-c", PUNCH, "sh", ...holes.flatMap(({ start, end }) => [String(start), String(end - start)])];
}

class NodeBlockFile implements BlockFile {
	readonly holeGranularity: number;
	readonly immediate = true;
	private open = true;
	private readonly holes: Hole[] = [];
	private punching = false;

	constructor(
		readonly name: string,
		private readonly fd: number,
		private bytes: number,
		readonly readOnly: boolean,
		private readonly synchronous: boolean,
		private readonly isDevice: boolean,
	) {
		this.holeGranularity = readOnly || isDevice || findProgram("fallocate") === undefined ? 0 : HOLE;
	}

	get size(): number {
		return this.bytes;
	}

	read(to: Uint8Array, position: number): Done {
		for (let done = 0; done < to.length; ) {
			const count = this.attempt("read", () => readSync(this.fd, to, done, to.length - done, position + done));
			if (count === 0) {
				to.fill(0, done);
				return undefined;
			}
			done += count;
		}
		return undefined;
	}

	write(from: Uint8Array, position: number): Done {
		for (let done = 0; done < from.length; ) {
			done += this.attempt("written", () => writeSync(this.fd, from, done, from.length - done, position + done));
		}
		if (position + from.length > this.bytes) this.bytes = position + from.length;
		return undefined;
	}

	readv(to: readonly Uint8Array[], position: number): Done {
		const count = this.attempt("read", () => readvSync(this.fd, to, position));
		rest(to, count, (part, at) => this.read(part, position + at));
		return undefined;
	}

	writev(from: readonly Uint8Array[], position: number): Done {
		const count = this.attempt("written", () => writevSync(this.fd, from, position));
		this.bytes = Math.max(this.bytes, position + count);
		rest(from, count, (part, at) => this.write(part, position + at));
		return undefined;
	}

	sync(): Done {
		if (this.synchronous) {
			this.attempt("flushed", () => fdatasyncSync(this.fd));
			return undefined;
		}
		return new Promise((done, fail) => {
			fdatasync(this.fd, (error) => (error === null ? done() : fail(failure(this.name, "flushed", error))));
		});
	}

	punch(position: number, length: number): Done {
		const start = Math.ceil(position / HOLE) * HOLE;
		const end = Math.floor(Math.min(position + length, this.bytes) / HOLE) * HOLE;
		if (this.holeGranularity === 0 || end <= start) return undefined;
		if (this.synchronous) {
			spawnSync("/bin/sh", punchArguments([{ start, end, done: () => {} }]), this.punchOptions());
			return undefined;
		}
		return new Promise((done) => {
			this.holes.push({ start, end, done });
			if (!this.punching) this.punchNext();
		});
	}

	/** Punches what has gathered while the last helper ran. */
	private punchNext(): void {
		const holes = this.holes.splice(0, MOST_HOLES);
		this.punching = holes.length > 0;
		if (!this.punching) return;
		const child = spawn("/bin/sh", punchArguments(holes), this.punchOptions());
		const end = (): void => {
			for (const hole of holes) hole.done();
			this.punchNext();
		};
		// A file system that cannot do it leaves the bytes as they are, which a discard allows.
		child.on("error", end);
		child.on("close", end);
	}

	private punchOptions(): { readonly stdio: StdioOptions } {
		return { stdio: ["ignore", "ignore", "ignore", this.fd] };
	}

	truncate(size: number): Done {
		if (this.isDevice)
			throw new BlockError("unsupported", this.name, "is a device: its size cannot be changed", "Change the device.");
		this.attempt("resized", () => ftruncateSync(this.fd, size));
		this.bytes = size;
		return undefined;
	}

	async close(): Promise<void> {
		if (this.open) closeSync(this.fd);
		this.open = false;
	}

	private attempt<T>(what: string, call: () => T): T {
		try {
			return call();
		} catch (error) {
			throw failure(this.name, what, error);
		}
	}
}

/** Calls `move` for what a system call for several buffers left over, with where it lies behind the first byte of all. */
function rest(parts: readonly Uint8Array[], moved: number, move: (part: Uint8Array, at: number) => void): void {
	let at = 0;
	for (const part of parts) {
		const done = Math.min(part.length, Math.max(0, moved - at));
		if (done < part.length) move(part.subarray(done), at + done);
		at += part.length;
	}
}

function failure(name: string, what: string, error: unknown): BlockError {
	const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
	const remedy =
		code === "ENOSPC" ? "Free some space on its file system" : "Check the file system and the device that it is on";
	return new BlockError("input-output", name, `cannot be ${what}: ${code === "" ? String(error) : code}`, remedy, {
		cause: error,
	});
}

const REASONS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
	ENOENT: ["no such file", "Check the path; `qemu-img create` or `truncate -s 10G FILE` makes an empty image"],
	EACCES: ["permission denied", "Check the file's permissions, or attach it read-only"],
	EPERM: ["permission denied", "Check the file's permissions, or attach it read-only"],
	EROFS: ["its file system is read-only", "Attach it read-only"],
	EISDIR: ["is a directory", "Name a file in it"],
	EEXIST: ["exists already", "Name another file, or remove it"],
};

function openFailure(name: string, error: unknown): BlockError {
	const code = (error as NodeJS.ErrnoException | null)?.code ?? "";
	const [reason, remedy] = REASONS[code] ?? [
		`cannot be opened: ${code === "" ? String(error) : code}`,
		"Check the file",
	];
	return new BlockError("cannot-open", name, reason, remedy, { cause: error });
}

/** Bytes of a file or a block device. */
function sizeOf(fd: number, name: string): { readonly size: number; readonly isDevice: boolean } {
	const status = fstatSync(fd);
	if (status.isFile()) return { size: status.size, isDevice: false };
	if (!status.isBlockDevice()) {
		throw new BlockError("cannot-open", name, "is neither a file nor a block device", "Name a disk image");
	}
	// dev_t as glibc has it (gnu_dev_major, gnu_dev_minor).
	const device = BigInt(status.rdev);
	const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n));
	const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n));
	const sectors = readFileSync(`/sys/dev/block/${major}:${minor}/size`, "utf8");
	return { size: Number(sectors) * 512, isDevice: true };
}

/** Locks an open file for this process. False where another has it. */
async function lock(fd: number, shared: boolean): Promise<boolean> {
	const program = findProgram("flock");
	if (program === undefined) return true;
	return new Promise((resolve) => {
		const child = spawn(program, ["--nonblock", shared ? "--shared" : "--exclusive", "3"], {
			stdio: ["ignore", "ignore", "ignore", fd],
		});
		child.on("error", () => resolve(true));
		// Status 1 is a conflict; others (a file system without locks) keep nobody from the file.
		child.on("close", (status) => resolve(status !== 1));
	});
}

export function nodeBlockFiles({ synchronous = false }: NodeBlockFilesOptions = {}): BlockFiles {
	return {
		async open(name: string, options: OpenOptions): Promise<BlockFile> {
			const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR } = constants;
			const flags = options.create === true ? O_RDWR | O_CREAT | O_EXCL : options.readOnly ? O_RDONLY : O_RDWR;
			let fd: number;
			try {
				fd = openSync(name, flags, 0o644);
			} catch (error) {
				throw openFailure(name, error);
			}
			try {
				const { size, isDevice } = sizeOf(fd, name);
				if (!(await lock(fd, options.readOnly))) {
					const remedy = "End the guest that has it, or attach it read-only in all of them";
					throw new BlockError("in-use", name, "another guest or program has it in use", remedy);
				}
				return new NodeBlockFile(name, fd, size, options.readOnly, synchronous, isDevice);
			} catch (error) {
				closeSync(fd);
				throw error instanceof BlockError ? error : openFailure(name, error);
			}
		},

		async openTemporary(): Promise<BlockFile> {
			const directory = temporaryDirectory();
			const name = join(directory, `paravirt-${process.pid}-${crypto.randomUUID()}.disk`);
			const { O_CREAT, O_EXCL, O_RDWR } = constants;
			try {
				const fd = openSync(name, O_RDWR | O_CREAT | O_EXCL, 0o600);
				unlinkSync(name);
				return new NodeBlockFile(basename(name), fd, 0, false, synchronous, false);
			} catch (error) {
				throw explainDirectory(directory, variableRemedy("TMPDIR"), error);
			}
		},

		resolve: (file, name) => resolve(dirname(file), name),
	};
}
