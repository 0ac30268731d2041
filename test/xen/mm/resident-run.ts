/**
 * A process of its own for resident.test.ts: runs guests and prints, as JSON, what they said and how many bytes more the process uses.
 *
 *   node --import tsx test/xen/mm/resident-run.ts KERNEL NUMBER ROUNDS MEMORY
 *
 * ROUNDS times NUMBER guests at once, of MEMORY MiB each.
 */
import { Host } from "../../../src/host/node.ts";

const MIB = 2 ** 20;
const HOST_MEMORY = 640 * MIB;

const [kernel, number, rounds, memory] = process.argv.slice(2) as [string, string, string, string];
const host = new Host({ memory: HOST_MEMORY, clock: "deterministic" });
const decoder = new TextDecoder();
const said: string[] = [];
const resident: number[] = [process.memoryUsage.rss()];
for (let round = 0; round < Number(rounds); round++) {
	const domains = await Promise.all(
		Array.from({ length: Number(number) }, (_, index) => {
			const at = said.push("") - 1;
			const options = { name: `g${index}`, kernel, memory: Number(memory) * MIB };
			return host.createDomain(options, ({ console }) => {
				console.onOutput((data) => {
					said[at] += decoder.decode(data);
				});
			});
		}),
	);
	for (const domain of domains) {
		const { reason } = await Promise.race([domain.ended, host.failed]);
		if (reason !== "poweroff") throw new Error(`${reason}: ${said.join("")}${host.log}`);
	}
	await Promise.all(domains.map((domain) => domain.destroy()));
	resident.push(process.memoryUsage.rss());
}
host.stop();
process.stdout.write(JSON.stringify({ said, grown: Math.max(...resident) - resident[0]! }));
