/** A 9P2000.L client of a session, for tests: requests as field lists, replies as readers. */
import { MessageReader } from "../../../src/devices/p9/codec.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../src/devices/p9/fids.ts";
import type { HostFolder } from "../../../src/devices/p9/folder.ts";
import { LockTable } from "../../../src/devices/p9/locks.ts";
import { LinuxErrno, Message, type MessageName, NO_FID, RLERROR } from "../../../src/devices/p9/protocol.ts";
import { Session } from "../../../src/devices/p9/session.ts";

/** A field: a number with its bytes ("u32:5"), or a string. */
export type Field = readonly ["u8" | "u16" | "u32" | "u64", number] | string | Uint8Array;
export const u8 = (value: number): Field => ["u8", value];
export const u16 = (value: number): Field => ["u16", value];
export const u32 = (value: number): Field => ["u32", value];
export const u64 = (value: number): Field => ["u64", value];

export function encode(type: number, tag: number, fields: readonly Field[]): Uint8Array {
	const bytes: number[] = [];
	const number = (value: number, count: number): void => {
		for (let at = 0, rest = value; at < count; at++, rest = Math.floor(rest / 256)) bytes.push(rest % 256);
	};
	for (const field of fields) {
		if (typeof field === "string") {
			number(field.length, 2);
			for (const character of field) bytes.push(character.charCodeAt(0));
		} else if (field instanceof Uint8Array) bytes.push(...field);
		else number(field[1], Number(field[0].slice(1)) / 8);
	}
	const message = new Uint8Array(7 + bytes.length);
	new DataView(message.buffer).setUint32(0, message.length, true);
	message[4] = type;
	new DataView(message.buffer).setUint16(5, tag, true);
	message.set(bytes, 7);
	return message;
}

export interface ClientOptions {
	readonly readOnly?: boolean;
	readonly limits?: Partial<Limits>;
	readonly locks?: LockTable;
	readonly messageSize?: number;
}

export class Client {
	readonly session: Session;
	readonly logged: string[] = [];
	private nextFid = 1;

	constructor(
		readonly folder: HostFolder,
		{ readOnly = false, limits, locks = new LockTable(), messageSize = 65536 }: ClientOptions = {},
	) {
		this.session = new Session({
			folder,
			readOnly,
			locks,
			maximumSize: 65536,
			limits: { ...DEFAULT_LIMITS, ...limits },
			log: (text) => this.logged.push(text),
		});
		this.send("version", u32(messageSize), "9P2000.L");
		this.send("attach", u32(0), u32(NO_FID), "", "", u32(NO_FID));
	}

	raw(message: Uint8Array): Promise<Uint8Array> {
		return new Promise((resolve, reject) => {
			try {
				this.session.handle(message, (reply) => resolve(reply.slice()));
			} catch (error) {
				reject(error);
			}
		});
	}

	/** The reply, or the error's name. For requests that are answered at once. */
	send(name: MessageName, ...fields: Field[]): MessageReader {
		const answer = this.ask(name, ...fields);
		if (typeof answer === "string") throw new Error(`${name}: ${answer}`);
		return answer;
	}

	ask(name: MessageName, ...fields: Field[]): MessageReader | string {
		let reply: Uint8Array | undefined;
		this.session.handle(encode(Message[name], 1, fields), (bytes) => {
			reply = bytes.slice();
		});
		if (reply === undefined) throw new Error(`${name} was not answered at once`);
		const reader = new MessageReader(reply);
		if (reader.type !== RLERROR) {
			if (reader.type !== Message[name] + 1) throw new Error(`${name}: reply of type ${reader.type}`);
			return reader;
		}
		const number = reader.u32();
		return Object.entries(LinuxErrno).find(([, value]) => value === number)?.[0] ?? String(number);
	}

	/** "" or the error's name. */
	error(name: MessageName, ...fields: Field[]): string {
		const answer = this.ask(name, ...fields);
		return typeof answer === "string" ? answer : "";
	}

	/** A new fid for a path from the root; throws where there is none. */
	walk(path: string, from = 0): number {
		const fid = this.nextFid++;
		const names = path === "" ? [] : path.split("/");
		const reached = this.send("walk", u32(from), u32(fid), u16(names.length), ...names).u16();
		if (reached !== names.length) throw new Error(`walk ${path}: ${reached} of ${names.length}`);
		return fid;
	}

	/** Names with types, as readdir tells them. */
	list(path: string, count = 8192): string[] {
		const fid = this.walk(path);
		this.send("lopen", u32(fid), u32(0));
		const names: string[] = [];
		for (let offset = 0; ; ) {
			const reply = this.send("readdir", u32(fid), u64(offset), u32(count));
			const end = reply.u32();
			if (end === 0) break;
			for (let used = 0; used < end; ) {
				reply.data(13);
				offset = reply.u64();
				reply.u8();
				const name = reply.string();
				names.push(name);
				used += 24 + name.length;
			}
		}
		this.send("clunk", u32(fid));
		return names.sort();
	}

	read(path: string): string {
		const fid = this.walk(path);
		try {
			this.send("lopen", u32(fid), u32(0));
			const reply = this.send("read", u32(fid), u64(0), u32(4096));
			return new TextDecoder().decode(reply.data(reply.u32()));
		} finally {
			this.send("clunk", u32(fid));
		}
	}

	/** Creates a file below the root's directory `path` and writes into it. */
	create(directory: string, name: string, text: string, flags = 0o2 | 0o200): void {
		const fid = this.walk(directory);
		try {
			this.send("lcreate", u32(fid), name, u32(flags), u32(0o644), u32(NO_FID));
			this.send("write", u32(fid), u64(0), u32(text.length), new TextEncoder().encode(text));
		} finally {
			this.send("clunk", u32(fid));
		}
	}
}
