import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { writeDomainNodes } from "../../src/store/domain-nodes.ts";
import { XsType } from "../../src/xen/abi/xenstore.ts";
import { createStore } from "./machine.ts";

/**
 * What Xen 4.17's xenstored answered to a PV domain with the number 1, request by request: "TYPE PAYLOAD => TYPE PAYLOAD", written by
 * Debian's kernel to /dev/xen/xenbus. Escapes of requests are printf's, NULs of replies are "|".
 */
const REPLIES = readFileSync(new URL("xenstored-replies.txt", import.meta.url), "latin1")
	.trimEnd()
	.split("\n");

describe("xenstored's answers to a domain", () => {
	const { client, store } = createStore();
	const tools = client(0);
	tools.ask("write", "/local/domain/0/name|Domain-0");
	const guest = client(1);
	writeDomainNodes(store, {
		domid: 1,
		name: "d1",
		uuid: "36339de9-d0ce-4fe5-ba64-be4d55a10fc3",
		memory: 163840,
		maximumMemory: 163840,
		vcpus: 1,
		storePort: 1,
		storeFrame: 1,
		consolePort: 2,
		consoleFrame: 2,
		kernel: "/guests/linux",
		ramdisk: "/guests/linux.ramdisk",
		commandLine: "",
		startTime: 0,
	});

	it.each(REPLIES)("%s", (line) => {
		const [, type, payload = "", replyType, reply] = /^(\d+) (.*?) ?=> (\d+) (.*)$/.exec(line) ?? [];
		const size = /^write (\d+) => (.*)$/.exec(line);
		const request = payload.replace(/\\([0-7]{1,3})/g, (_, digits: string) => {
			const code = Number.parseInt(digits, 8);
			return code === 0 ? "|" : String.fromCharCode(code);
		});
		const answer =
			size === null ? guest.ask(Number(type), request) : guest.ask("write", `data/big|${"x".repeat(Number(size[1]))}`);
		const expected = size === null ? reply : size[2]?.replace(/^\d+ /, "");
		const failed = (replyType ?? size?.[2]?.split(" ")[0]) === String(XsType.error);
		const ours = type === String(XsType.directoryPart) ? answer.replace(/^\d+/, "GENERATION") : answer;
		expect(ours).toBe(failed ? `!${expected?.slice(0, -1)}` : expected);
	});
});
