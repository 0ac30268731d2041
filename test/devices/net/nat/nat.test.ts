/** The NAT as a guest sees it, frame by frame, over the host's real loopback. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { checksum, verifyChecksum } from "../../../../src/devices/net/checksum.ts";
import { get16, get32, put16, put32, transportHeader } from "../../../../src/devices/net/frame.ts";
import { DNS, GATEWAY, GUEST, GUEST_MAC, ipFrame, NatGuest, readIcmp, readUdp, udpData } from "./guest.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const closers: (() => void)[] = [];
afterEach(() => {
	for (const close of closers.splice(0)) close();
});

function start(...options: ConstructorParameters<typeof NatGuest>): NatGuest {
	const guest = new NatGuest(...options);
	closers.push(() => guest.nat.close());
	return guest;
}

/** A server on the host's loopback that answers each datagram with `answer`. */
async function udpServer(answer: (bytes: Uint8Array) => Uint8Array): Promise<number> {
	const socket = createSocket("udp4", (bytes, from) => socket.send(answer(bytes), from.port, from.address));
	await new Promise<void>((resolve) => {
		socket.bind(0, "127.0.0.1", resolve);
	});
	closers.push(() => socket.close());
	return socket.address().port;
}

function dhcp(type: number, options: readonly number[] = []): Uint8Array {
	const message = new Uint8Array(300);
	message.set([1, 1, 6, 0, 1, 2, 3, 4]);
	message.set(GUEST_MAC, 28);
	message.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, ...options, 255], 236);
	return ipFrame(0xffffffff, 17, udpData(0xffffffff, 68, 67, message, 0), { source: 0 });
}

describe("the NAT", () => {
	it("answers ARP for its own addresses only", async () => {
		const guest = start();
		guest.announce();
		const reply = await guest.receive((bytes) => (get16(bytes, 12) === 0x0806 ? bytes : undefined));
		expect([...reply.subarray(20, 32)]).toEqual([0, 2, 0x52, 0x55, 10, 0, 2, 2, 10, 0, 2, 2]);
		expect([...reply.subarray(0, 6)]).toEqual([...GUEST_MAC]);
	});

	it("gives a guest its address, router, name server and name by DHCP, with checksums that any client can read", async () => {
		const guest = start({ domain: "example.org", mtu: 1400 });
		guest.nat.dhcp.reserve("00:16:3e:01:02:03", "box");
		const options: Record<number, number[]> = {};
		for (const [type, expected, more] of [
			[1, 2, []],
			[3, 5, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]],
		] as const) {
			guest.send(dhcp(type, more));
			const { bytes, udp } = await guest.receive((each) => {
				const found = readUdp(each);
				return found === undefined ? undefined : { bytes: each, udp: found };
			});
			expect([udp.source, udp.from, udp.to]).toEqual([GATEWAY, 67, 68]);
			const transport = transportHeader(bytes);
			expect(transport !== undefined && verifyChecksum(bytes, transport)).toBe(true);
			expect(get32(udp.data, 16)).toBe(GUEST);
			for (let at = 240; udp.data[at] !== 255; at += 2 + (udp.data[at + 1] as number)) {
				options[udp.data[at] as number] = [...udp.data.subarray(at + 2, at + 2 + (udp.data[at + 1] as number))];
			}
			expect(options[53]).toEqual([expected]);
		}
		expect(options).toMatchObject({
			1: [255, 255, 255, 0],
			3: [10, 0, 2, 2],
			6: [10, 0, 2, 3],
			12: [...text("box")],
			15: [...text("example.org")],
			26: [1400 >>> 8, 1400 & 0xff],
			28: [10, 0, 2, 255],
			51: [0, 1, 81, 128],
			54: [10, 0, 2, 2],
		});
		// Somebody else's address is refused.
		guest.send(dhcp(3, [50, 4, 10, 0, 2, 99, 54, 4, 10, 0, 2, 2]));
		const nak = await guest.receive(readUdp);
		expect([...nak.data.subarray(240, 243)]).toEqual([53, 1, 6]);
	});

	it("answers pings of the gateway, also in fragments, and says that others cannot be pinged", async () => {
		const guest = start();
		guest.announce();
		const echo = new Uint8Array(3000);
		echo[0] = 8;
		for (let at = 8; at < echo.length; at++) echo[at] = at;
		put16(echo, 2, checksum(echo, 0, echo.length));
		guest.send(ipFrame(GATEWAY, 1, echo.subarray(1480, 2960), { fragment: 0x2000 | 185, id: 7 }));
		guest.send(ipFrame(GATEWAY, 1, echo.subarray(2960), { fragment: 370, id: 7 }));
		guest.send(ipFrame(GATEWAY, 1, echo.subarray(0, 1480), { fragment: 0x2000, id: 7 }));
		const parts = new Map<number, Uint8Array>();
		for (let count = 0; count < 3; count++) {
			const part = await guest.receive((bytes) => (get16(bytes, 12) === 0x0800 ? bytes : undefined));
			expect(part.length).toBeLessThanOrEqual(1514);
			parts.set((get16(part, 20) & 0x1fff) * 8, part.subarray(34));
		}
		const reply = new Uint8Array(3000);
		for (const [at, part] of parts) reply.set(part, at);
		expect(reply[0]).toBe(0);
		expect(checksum(reply, 0, reply.length)).toBe(0);
		expect(Buffer.from(reply.subarray(8)).equals(echo.subarray(8))).toBe(true);
		const small = echo.slice(0, 64);
		put16(small, 2, 0);
		put16(small, 2, checksum(small, 0, small.length));
		guest.send(ipFrame(0xc0000201, 1, small));
		expect(await guest.receive(readIcmp)).toMatchObject({ type: 3, code: 13 });
		guest.send(ipFrame(0xc0000201, 1, small, { ttl: 1 }));
		expect(await guest.receive(readIcmp)).toMatchObject({ type: 11, code: 0 });
	});

	it("carries datagrams to the host's loopback and back, larger ones in fragments", async () => {
		const guest = start();
		guest.announce();
		const port = await udpServer((bytes) => Uint8Array.from([...bytes].reverse()));
		guest.send(ipFrame(GATEWAY, 17, udpData(GATEWAY, 4000, port, text("hello"))));
		const answer = await guest.receive(readUdp);
		expect(answer).toEqual({ source: GATEWAY, from: port, to: 4000, data: text("olleh") });
		const large = Uint8Array.from({ length: 4000 }, (_, index) => index);
		const data = udpData(GATEWAY, 4000, port, large);
		for (const at of [0, 1480, 2960]) {
			const more = at + 1480 < data.length ? 0x2000 : 0;
			guest.send(ipFrame(GATEWAY, 17, data.subarray(at, at + 1480), { fragment: more | (at / 8), id: 9 }));
		}
		const parts: number[] = [];
		while (parts.length < 3) {
			parts.push(await guest.receive((bytes) => (get16(bytes, 12) === 0x0800 ? get16(bytes, 20) : undefined)));
		}
		expect(parts).toEqual([0x2000, 0x2000 | 185, 370]);
		expect(guest.nat.activity.udp).toBe(1);
		guest.advance(200_000);
		expect(guest.nat.activity).toEqual({ tcp: 0, udp: 0, dns: 0, fragments: 0 });
	});

	it("hands questions on to a name server, and looks names up itself where that does not know", async () => {
		const question = Uint8Array.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, ...text("box"), 0, 0, 1, 0, 1]);
		const asked: number[] = [];
		const port = await udpServer((bytes) => {
			asked.push(get16(bytes, bytes.length - 4));
			const reply = Uint8Array.from(bytes);
			// It knows texts, and no addresses.
			reply.set(asked.at(-1) === 16 ? [0x81, 0x80] : [0x81, 0x83], 2);
			return reply;
		});
		const { nodeNetwork } = await import("../../../../src/platform/node/network.ts");
		const lookup = async (name: string) => (name === "box" ? ["127.0.1.1", "192.0.2.7"] : []);
		const guest = start({ nameServers: [{ address: "127.0.0.1", port }] }, { ...nodeNetwork, lookup });
		guest.announce();
		const ask = async (type: number): Promise<Uint8Array> => {
			const bytes = question.slice();
			put16(bytes, bytes.length - 4, type);
			guest.send(ipFrame(DNS, 17, udpData(DNS, 5000, 53, bytes)));
			return (await guest.receive(readUdp)).data;
		};
		const known = await ask(16);
		expect([get16(known, 0), get16(known, 2)]).toEqual([0x1234, 0x8180]);
		const found = await ask(1);
		expect([get16(found, 0), get16(found, 2), get16(found, 6)]).toEqual([0x1234, 0x8180, 2]);
		// A name of the host itself is the gateway's.
		expect(get32(found, question.length + 12)).toBe(GATEWAY);
		expect(get32(found, question.length + 28)).toBe(0xc0000207);
		const unknown = await ask(12);
		expect(get16(unknown, 2) & 15).toBe(3);
		expect(asked).toEqual([16, 1, 12]);
		expect(guest.operations).toBe(0);
	});

	it("leads forwarded datagrams to the guest, and its answers back", async () => {
		const guest = start();
		guest.nat.dhcp.reserve("00:16:3e:01:02:03", undefined);
		guest.announce();
		const forward = { protocol: "udp", address: "127.0.0.1", port: 0, guestPort: 53 } as const;
		const { port } = await guest.nat.forward(forward, () => "00:16:3e:01:02:03");
		const answers: string[] = [];
		const client = createSocket("udp4", (bytes) => answers.push(bytes.toString()));
		closers.push(() => client.close());
		client.send("question", port, "127.0.0.1");
		const asked = await guest.receive(readUdp);
		expect(asked).toMatchObject({ source: GATEWAY, to: 53, data: text("question") });
		const answered = new Promise((resolve) => client.once("message", resolve));
		guest.send(ipFrame(GATEWAY, 17, udpData(GATEWAY, 53, asked.from, text("answer"))));
		await answered;
		expect(answers).toEqual(["answer"]);
	});

	it("resets who calls a guest that does not answer, in place of waiting", async () => {
		const guest = start();
		guest.nat.dhcp.reserve("00:16:3e:01:02:03", undefined);
		guest.announce();
		const forward = { protocol: "tcp", address: "127.0.0.1", port: 0, guestPort: 80 } as const;
		let there = true;
		const { port } = await guest.nat.forward(forward, () => (there ? "00:16:3e:01:02:03" : undefined));
		const call = (): Promise<string> =>
			new Promise((resolve) => {
				const socket = connect(port, "127.0.0.1");
				closers.push(() => socket.destroy());
				socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? ""));
				socket.on("end", () => resolve("end"));
			});
		const isSyn = (bytes: Uint8Array): true | undefined =>
			get16(bytes, 12) === 0x0800 && bytes[23] === 6 && ((bytes[47] ?? 0) & 2) !== 0 ? true : undefined;
		const ended = call();
		await guest.receive(isSyn);
		guest.advance(1000);
		await guest.receive(isSyn);
		expect(guest.nat.activity.tcp).toBe(1);
		guest.advance(2000);
		expect(await ended).toBe("ECONNRESET");
		expect(guest.nat.activity.tcp).toBe(0);
		// A guest that has gone is not even asked.
		there = false;
		expect(await call()).toBe("ECONNRESET");
	});

	it("survives whatever a guest sends: nothing is thrown, and nothing is held for ever", () => {
		const kinds = [
			(data: Uint8Array) => data,
			(data: Uint8Array) => ipFrame(GATEWAY, data[0] ?? 0, data.subarray(1)),
			(data: Uint8Array) => ipFrame(GATEWAY, 6, data),
			(data: Uint8Array) => ipFrame(GATEWAY, 1, data),
			(data: Uint8Array) => ipFrame(GATEWAY, 17, data),
			(data: Uint8Array) => ipFrame(GATEWAY, 17, data, { fragment: get16(data, 0), id: data[3] ?? 0 }),
			(data: Uint8Array) => ipFrame(0xffffffff, 17, udpData(0xffffffff, 68, 67, data, 0), { source: 0 }),
			(data: Uint8Array) => ipFrame(DNS, 17, udpData(DNS, 99, 53, data)),
		];
		const network = {
			connectTcp: () => ({ pending: 0, write() {}, end() {}, pause() {}, resume() {}, destroy() {} }),
			listenTcp: () => Promise.reject(new Error("no")),
			openUdp: () => ({ send() {}, close() {} }),
			listenUdp: () => Promise.reject(new Error("no")),
			nameServers: () => [],
			lookup: async () => [],
		};
		const packet = fc.tuple(fc.nat(kinds.length - 1), fc.uint8Array({ minLength: 4, maxLength: 400 }), fc.boolean());
		fc.assert(
			fc.property(fc.array(packet, { maxLength: 40 }), (packets) => {
				const guest = new NatGuest({}, network);
				guest.announce();
				for (const [kind, data, blank] of packets) guest.send(kinds[kind]?.(data) as Uint8Array, blank);
				guest.advance(1_000_000);
				guest.nat.interfaceGone("00:16:3e:01:02:03");
				guest.nat.close();
				expect(guest.nat.activity).toEqual({ tcp: 0, udp: 0, dns: 0, fragments: 0 });
				expect(guest.operations).toBe(0);
			}),
			{ numRuns: 200 },
		);
	});

	it("bounds what a flood of calls takes", () => {
		let open = 0;
		const socket = { pending: 0, write() {}, end() {}, pause() {}, resume() {}, destroy: () => void open-- };
		const network = {
			connectTcp: () => {
				open++;
				return socket;
			},
			listenTcp: () => Promise.reject(new Error("no")),
			openUdp: () => ({ send() {}, close() {} }),
			listenUdp: () => Promise.reject(new Error("no")),
			nameServers: () => [],
			lookup: async () => [],
		};
		const guest = new NatGuest({}, network);
		guest.announce();
		const syn = new Uint8Array(20);
		syn.set([0x50, 2, 0xff, 0xff], 12);
		for (let port = 1; port < 2000; port++) {
			put16(syn, 0, port);
			put16(syn, 2, 80);
			put32(syn, 4, port);
			guest.send(ipFrame(0xc0000201, 6, syn), true);
		}
		expect(guest.nat.activity.tcp).toBe(256);
		expect(open).toBe(256);
		guest.nat.close();
		expect([open, guest.operations, guest.nat.activity.tcp]).toEqual([0, 0, 0]);
	});
});
