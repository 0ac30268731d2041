/**
 * A process that is killed: a guest's front end writes to disks of two formats through the back end, flushes, and tells on standard
 * output up to which write a flush has been acknowledged. Arguments: a raw image, a qcow2 image, the number of the first write.
 */
import { openImage } from "../../../src/devices/block/images/open.ts";
import { nodeBlockFiles } from "../../../src/platform/node/block-files.ts";
import { type BlockFront, createBlock } from "../../backends/block/front.ts";
import { contentsOf, WRITES_PER_FLUSH, writeOf } from "./durable-writes.ts";

const [raw = "", qcow2 = "", from = "0"] = process.argv.slice(2);
const files = nodeBlockFiles();
const PAGE = 10;

async function connect(name: string, format: "raw" | "qcow2"): Promise<BlockFront> {
	const image = await openImage(files, name, { format, readOnly: false });
	const [ring] = createBlock({ image }).connect();
	return ring as BlockFront;
}

/** Sends what has been put, and waits for an answer to it. */
async function answered(ring: BlockFront): Promise<void> {
	ring.send();
	for (let answers = ring.answers(); ; answers = ring.answers()) {
		if (answers.some(({ status }) => status !== 0)) throw new Error(JSON.stringify(answers));
		if (answers.length > 0) return;
		await new Promise((resolve) => setImmediate(resolve));
	}
}

const rings = [await connect(raw, "raw"), await connect(qcow2, "qcow2")];
const refs = rings.map(({ front }) => front.grant(PAGE));
for (let number = Number(from); ; number++) {
	const { sector, first, last } = writeOf(number);
	for (const [disk, ring] of rings.entries()) {
		const { memory } = ring.front.guest;
		for (let index = first; index <= last; index++) {
			memory.bytes.set(contentsOf(number, sector + index), ring.front.page(PAGE) + index * 512);
		}
		ring.put_(1, 1, sector + first, [{ ref: refs[disk] as number, first, last }]);
		await answered(ring);
	}
	if (number % WRITES_PER_FLUSH !== 0) continue;
	for (const ring of rings) {
		ring.put_(3, 2, 0, []);
		await answered(ring);
	}
	process.stdout.write(`${number}\n`);
}
