/**
 * The tiny guests: one file a subject, assembled with the machine's binutils. A file with a line "# cases: a b ..." makes one guest a case,
 * assembled with the symbol CASE_a (and so on) defined; the others make one guest of their own name.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCES = fileURLToPath(new URL(".", import.meta.url));

/** Whether this machine can assemble x86-64 code. */
export const canAssemble = process.arch === "x64" && spawnSync("as", ["--version"]).status === 0;

export interface GuestSource {
	readonly name: string;
	/** Path of the source. */
	readonly file: string;
	/** Symbol that chooses the case. */
	readonly define: string | undefined;
}

/** All guests, in the order of their names. */
export function guestSources(): GuestSource[] {
	const files = readdirSync(SOURCES).filter((name) => name.endsWith(".S"));
	const guests = files.flatMap((name) => guestCases(join(SOURCES, name)));
	return guests.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The guests of one file. */
export function guestCases(file: string): GuestSource[] {
	const subject = basename(file, ".S");
	const cases = /^# cases: (.*)$/m.exec(readFileSync(file, "utf8"))?.[1]?.trim().split(/\s+/);
	if (cases === undefined) return [{ name: subject, file, define: undefined }];
	const symbol = (one: string): string => `CASE_${one.replaceAll("-", "_")}`;
	return cases.map((one) => ({ name: `${subject}-${one}`, file, define: symbol(one) }));
}

/** Assembles a guest into `directory`. @returns the path of its kernel. */
export function assembleGuest(guest: GuestSource, directory: string): string {
	mkdirSync(directory, { recursive: true });
	const kernel = join(directory, guest.name);
	const object = `${kernel}.o`;
	const define = guest.define === undefined ? [] : ["--defsym", `${guest.define}=1`];
	execFileSync("as", ["--64", "-I", SOURCES, ...define, "-o", object, guest.file]);
	execFileSync("ld", ["-N", "--no-warn-rwx-segments", "-Ttext=0x100000", "-e", "start", "-o", kernel, object]);
	rmSync(object);
	return kernel;
}
