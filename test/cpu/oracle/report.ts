/**
 * Shows a case for a person: its bytes, their disassembly by objdump, the state it starts from, and what differs.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Difference, flagNames, GPR_NAMES, hex64 } from "./compare.ts";
import { Case, type CaseBatch } from "./records.ts";

/** Disassembles machine code; says so where binutils are missing. */
export function disassemble(code: Uint8Array, address: number, compatibility: boolean): string[] {
	const directory = mkdtempSync(join(tmpdir(), "paravirt-disassemble-"));
	try {
		const file = join(directory, "code");
		writeFileSync(file, code);
		const machine = compatibility ? "i386" : "i386:x86-64";
		const text = execFileSync("objdump", ["-D", "-b", "binary", "-m", machine, `--adjust-vma=${address}`, file], {
			encoding: "utf8",
		});
		return text
			.split("\n")
			.filter((line) => /^\s*[0-9a-f]+:\t/.test(line))
			.map((line) => line.trim().split("\t").slice(2).join(" ").replace(/\s+/g, " "))
			.filter((line) => line !== "");
	} catch {
		return ["(no disassembly: objdump does not start)"];
	} finally {
		rmSync(directory, { recursive: true, force: true });
	}
}

/** Text for a case that two engines disagree on. `reproduce`: the command line that runs it again. */
export function describe(
	batch: CaseBatch,
	index: number,
	names: string,
	found: readonly Difference[],
	reproduce: string,
): string {
	const at = batch.offset(index);
	const { view, bytes } = batch;
	const length = view.getUint8(at + Case.codeLength);
	const code = bytes.subarray(at + Case.code, at + Case.code + length);
	const compatibility = view.getUint8(at + Case.mode) !== 0;
	const rip = view.getUint32(at + Case.rip, true);
	const result = { view, offset: at };
	const lines = [
		`MISMATCH in ${names}`,
		`  reproduce: ${reproduce}`,
		`  bytes: ${Buffer.from(code).toString("hex")} at 0x${rip.toString(16)}${view.getUint8(at + Case.step) !== 0 ? " (stepped)" : ""}`,
		...disassemble(code, rip, compatibility).map((line) => `    ${line}`),
	];
	const registers = GPR_NAMES.map((name, i) => `${name.padEnd(3)} ${hex64(result, Case.gpr + i * 8)}`);
	for (let i = 0; i < 16; i += 4) lines.push(`  ${registers.slice(i, i + 4).join("  ")}`);
	lines.push(`  rflags ${flagNames(view.getUint32(at + Case.rflags, true))}`);
	const hex = (value: number): string => value.toString(16);
	lines.push(
		`  mxcsr ${hex(view.getUint32(at + Case.mxcsr, true))}  x87 control ${hex(view.getUint16(at + Case.x87Control, true))}` +
			` status ${hex(view.getUint16(at + Case.x87Status, true))} tags ${hex(view.getUint8(at + Case.x87Tags))}`,
	);
	const used = (from: number, length: number): boolean =>
		bytes.subarray(at + from, at + from + length).some((byte) => byte !== 0);
	if (used(Case.xmm, 256)) {
		for (let i = 0; i < 16; i += 2) {
			const text = [i, i + 1].map((n) => {
				const from = Case.xmm + n * 16;
				return `xmm${String(n).padEnd(2)} ${hex64(result, from + 8)}:${hex64(result, from).slice(2)}`;
			});
			lines.push(`  ${text.join("  ")}`);
		}
	}
	if (used(Case.st, 128)) {
		for (let i = 0; i < 8; i += 4) {
			const text = [i, i + 1, i + 2, i + 3].map((n) => {
				const from = Case.st + n * 16;
				return `st${n} ${hex(view.getUint16(at + from + 8, true)).padStart(4, "0")}:${hex64(result, from).slice(2)}`;
			});
			lines.push(`  ${text.join("  ")}`);
		}
	}
	const window = view.getUint32(at + Case.window, true);
	const content = Buffer.from(bytes.subarray(at + Case.windowContent, at + Case.windowContent + Case.windowBytes));
	for (let i = 0; i < Case.windowBytes; i += 32) {
		lines.push(`  data+0x${hex(window + i)}: ${content.toString("hex", i, i + 32)}`);
	}
	const width = Math.max(...found.map(({ what }) => what.length));
	for (const { what, expected, got } of found) {
		lines.push(`  ${what.padEnd(width)}  expected ${expected || "(none)"}  got ${got || "(none)"}`);
	}
	return lines.join("\n");
}
