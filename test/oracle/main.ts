/**
 * `npm run test:xen [-- --record] [GUEST...]`: runs the tiny guests on real Xen 4.17 and on ours and compares what they say.
 * --record keeps real Xen's verdicts for CI (verdicts/NAME.txt); --log prints what Xen and xl said too. A GUEST is the beginning of a name.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { assembleGuest, guestSources } from "../guests/build.ts";
import { runGuest } from "../guests/run.ts";
import { differences } from "./compare.ts";
import { runOnRealXen } from "./real-xen.ts";
import { verdictsFile } from "./verdicts.ts";

const { values, positionals } = parseArgs({
	options: { record: { type: "boolean", default: false }, log: { type: "boolean", default: false } },
	allowPositionals: true,
});
const wanted = guestSources().filter(
	({ name }) => positionals.length === 0 || positionals.some((start) => name.startsWith(start)),
);
const directory = mkdtempSync(join(tmpdir(), "paravirt-guests-"));
try {
	const kernels = wanted.map((guest) => assembleGuest(guest, directory));
	const real = await runOnRealXen(kernels);
	let failures = 0;
	for (const [index, { name }] of wanted.entries()) {
		const run = real.get(name);
		if (run === undefined) throw new Error(`real Xen did not run ${name}`);
		if (values.record) writeFileSync(verdictsFile(name), run.verdicts);
		const ours = await runGuest(kernels[index] as string);
		const found = differences(name, run.verdicts, ours.verdicts);
		if (found.length > 0) failures++;
		console.log(`${found.length === 0 ? "same" : "DIFFERENT"}: ${name}`);
		for (const line of found) console.log(`  ${line}`);
		if (values.log) console.log(`${run.log}\n-- ours --\n${ours.log}`);
	}
	process.exitCode = failures === 0 ? 0 : 1;
} finally {
	rmSync(directory, { recursive: true });
}
