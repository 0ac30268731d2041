/**
 * The NAT's name server (RFC 1035): hands questions on to the host's name servers, whatever they ask for. Where those do not answer or do not know
 * a name, addresses are looked up as the host's own programs do, so that names of its hosts file are found too.
 */
import { get16, put16, put32 } from "../frame.ts";
import type { Datagram, NameServer, NatEnvironment, UdpSocket } from "./host-network.ts";
import { parseIpv4 } from "./ipv4.ts";
import type { Deadlines } from "./timers.ts";

export const DNS_PORT = 53;
const HEADER = 12;
const Type = { a: 1, aaaa: 28 } as const;
const CLASS_IN = 1;
const Code = { noError: 0, formatError: 1, serverFailure: 2, nameError: 3 } as const;
const Flag = { response: 0x8000, recursionDesired: 0x0100, recursionAvailable: 0x0080, code: 0x000f } as const;
/** Questions that wait for answers at the same time. */
const MOST_QUESTIONS = 512;
/** Milliseconds until the next server is asked; each is asked twice. */
const TIMEOUT = 1500;
const ROUNDS = 2;
/** Seconds for which what was looked up may be kept: not long, it may be a file that changes. */
const LOOKUP_TTL = 10;
const MOST_ADDRESSES = 16;

interface Question {
	/** As the guest sent it. */
	readonly bytes: Uint8Array;
	/** Its address. */
	readonly guest: number;
	readonly answer: (bytes: Uint8Array) => void;
	tries: number;
	/** Whom it was sent to last. */
	server: NameServer | undefined;
	/** Looked up already. */
	resolving: boolean;
}

export class DnsProxy {
	/** By the number under which they were handed on. */
	private readonly questions = new Map<number, Question>();
	private socket: UdpSocket | undefined;

	constructor(
		private readonly environment: NatEnvironment,
		private readonly deadlines: Deadlines,
		private readonly servers: () => readonly NameServer[],
		private readonly gateway: number,
	) {}

	get size(): number {
		return this.questions.size;
	}

	/** A guest's question; `answer` sends what is to be answered. */
	ask(bytes: Uint8Array, guest: number, answer: (bytes: Uint8Array) => void): void {
		if (bytes.length < HEADER || (get16(bytes, 2) & Flag.response) !== 0 || this.questions.size >= MOST_QUESTIONS)
			return;
		let number = this.environment.random32() & 0xffff;
		while (this.questions.has(number)) number = (number + 1) & 0xffff;
		const question: Question = { guest, bytes: bytes.slice(), answer, tries: 0, server: undefined, resolving: false };
		this.questions.set(number, question);
		this.environment.beginHostOperation();
		this.tryNext(number, question);
	}

	/** Forgets the questions of a guest. */
	abort(guest: number): void {
		for (const [number, question] of [...this.questions]) if (question.guest === guest) this.forget(number);
	}

	close(): void {
		for (const number of [...this.questions.keys()]) this.forget(number);
	}

	private tryNext(number: number, question: Question): void {
		if (this.questions.get(number) !== question || question.resolving) return;
		const servers = this.servers();
		if (question.tries >= servers.length * ROUNDS) {
			this.lookUp(number, question, undefined);
			return;
		}
		const server = servers[question.tries % servers.length] as NameServer;
		question.tries++;
		question.server = server;
		const sent = question.bytes.slice();
		put16(sent, 0, number);
		this.socket ??= this.environment.network.openUdp((datagram) => this.receive(datagram));
		this.socket.send(sent, server.address, server.port);
		this.deadlines.add(this.environment.now() + TIMEOUT, () => this.tryNext(number, question));
	}

	private receive({ address, bytes, port }: Datagram): void {
		if (bytes.length < HEADER) return;
		const number = get16(bytes, 0);
		const question = this.questions.get(number);
		const server = question?.server;
		if (question === undefined || question.resolving || server?.address !== address || server.port !== port) return;
		if ((get16(bytes, 2) & Flag.response) === 0 || !hasSameQuestion(bytes, question.bytes)) return;
		const reply = bytes.slice();
		put16(reply, 0, get16(question.bytes, 0));
		const code = get16(reply, 2) & Flag.code;
		if (code === Code.nameError || code === Code.serverFailure) this.lookUp(number, question, reply);
		else this.finish(number, question, reply);
	}

	/** Asks the host itself. `otherwise` is the answer where that finds nothing, either. */
	private lookUp(number: number, question: Question, otherwise: Uint8Array | undefined): void {
		const asked = readQuestion(question.bytes);
		const failure = otherwise ?? reply(question.bytes, Code.serverFailure, []);
		const family = asked?.type === Type.a ? 4 : asked?.type === Type.aaaa ? 6 : undefined;
		if (asked === undefined || family === undefined || asked.class !== CLASS_IN) {
			this.finish(number, question, failure);
			return;
		}
		question.resolving = true;
		void this.environment.network.lookup(asked.name, family).then((addresses) => {
			if (this.questions.get(number) !== question) return;
			const found = addresses.map((address) => this.record(address, family)).filter((record) => record !== undefined);
			const answer = found.length > 0 ? reply(question.bytes, Code.noError, found.slice(0, MOST_ADDRESSES)) : failure;
			this.finish(number, question, answer);
		});
	}

	/** An address as the guest can reach it: names of the host itself are the gateway's. */
	private record(address: string, family: 4 | 6): Uint8Array | undefined {
		if (family === 4) {
			const number = parseIpv4(address);
			if (number === undefined) return undefined;
			return resourceRecord(Type.a, ipv4Bytes(number >>> 24 === 127 ? this.gateway : number));
		}
		const bytes = ipv6Bytes(address);
		const isLoopback = bytes?.every((byte, index) => byte === (index === 15 ? 1 : 0)) === true;
		return bytes === undefined || isLoopback ? undefined : resourceRecord(Type.aaaa, bytes);
	}

	private finish(number: number, question: Question, answer: Uint8Array): void {
		this.forget(number);
		question.answer(answer);
	}

	private forget(number: number): void {
		if (!this.questions.delete(number)) return;
		this.environment.endHostOperation();
		// The next question comes from another port, which nobody can guess.
		if (this.questions.size > 0) return;
		this.socket?.close();
		this.socket = undefined;
	}
}

interface AskedFor {
	readonly name: string;
	readonly type: number;
	readonly class: number;
	/** Where the question ends. */
	readonly end: number;
}

/** The only question of a message, without compression as RFC 1035 4.1.2 has it; undefined where there is none or it is malformed. */
function readQuestion(bytes: Uint8Array): AskedFor | undefined {
	if (bytes.length < HEADER || get16(bytes, 4) !== 1) return undefined;
	const labels: string[] = [];
	let at = HEADER;
	for (;;) {
		const length = bytes[at];
		if (length === undefined || length > 63 || at + 1 + length > bytes.length || at > HEADER + 255) return undefined;
		at++;
		if (length === 0) break;
		labels.push(String.fromCharCode(...bytes.subarray(at, at + length)));
		at += length;
	}
	if (at + 4 > bytes.length) return undefined;
	return { name: labels.join("."), type: get16(bytes, at), class: get16(bytes, at + 2), end: at + 4 };
}

function hasSameQuestion(a: Uint8Array, b: Uint8Array): boolean {
	const [of, as] = [readQuestion(a), readQuestion(b)];
	if (of === undefined || as === undefined) return get16(a, 4) === get16(b, 4);
	return of.name.toLowerCase() === as.name.toLowerCase() && of.type === as.type && of.class === as.class;
}

/** An answer to a question: its records' names point to the question's. */
function reply(question: Uint8Array, code: number, records: readonly Uint8Array[]): Uint8Array {
	const end = readQuestion(question)?.end ?? HEADER;
	const length = records.reduce((sum, record) => sum + record.length, end);
	const bytes = new Uint8Array(length);
	bytes.set(question.subarray(0, end));
	const desired = get16(question, 2) & (Flag.recursionDesired | 0x7800);
	put16(bytes, 2, Flag.response | Flag.recursionAvailable | desired | code);
	put16(bytes, 4, end > HEADER ? 1 : 0);
	put16(bytes, 6, records.length);
	put32(bytes, 8, 0);
	let at = end;
	for (const record of records) {
		bytes.set(record, at);
		at += record.length;
	}
	return bytes;
}

function resourceRecord(type: number, data: Uint8Array): Uint8Array {
	const record = new Uint8Array(12 + data.length);
	put16(record, 0, 0xc000 | HEADER);
	put16(record, 2, type);
	put16(record, 4, CLASS_IN);
	put32(record, 6, LOOKUP_TTL);
	put16(record, 10, data.length);
	record.set(data, 12);
	return record;
}

function ipv4Bytes(address: number): Uint8Array {
	const bytes = new Uint8Array(4);
	put32(bytes, 0, address);
	return bytes;
}

/** RFC 4291 2.2; undefined where the text is no address. */
function ipv6Bytes(text: string): Uint8Array | undefined {
	const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
	const v4 = dotted === null ? undefined : parseIpv4(dotted[2] as string);
	const groups =
		dotted === null || v4 === undefined
			? text
			: `${dotted[1]}${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
	const [head, tail, more] = groups.split("::").map((part) => (part === "" ? [] : part.split(":")));
	if (head === undefined || more !== undefined) return undefined;
	const missing = 8 - head.length - (tail?.length ?? 0);
	if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
	const all = tail === undefined ? head : [...head, ...Array<string>(missing).fill("0"), ...tail];
	if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
	const bytes = new Uint8Array(16);
	all.forEach((group, index) => {
		put16(bytes, index * 2, Number.parseInt(group, 16));
	});
	return bytes;
}
