/**
 * xl's specifications of channels (xl.cfg(5), channel=["connection=pty,name=NAME", "connection=socket,name=NAME,path=PATH"]). Every key is
 * honoured or refused by its name.
 */
import type { ChannelConnection } from "../../devices/console/host-channel.ts";

/** A byte stream between a guest and the host: a further console, which the guest finds by its name. */
export interface ChannelSpecification {
	/** In the guest's store: device/console/N/name. */
	readonly name: string;
	readonly connection: ChannelConnection;
	/** The socket's. */
	readonly path?: string;
}

/** A channel that cannot be had: what, and what to do. */
export class ChannelError extends Error {
	override readonly name = "ChannelError";
	readonly code = "invalid-specification";

	constructor(
		readonly specification: string,
		readonly reason: string,
		readonly remedy: string,
		options?: ErrorOptions,
	) {
		super(`channel "${specification}": ${reason}`, options);
	}
}

const KEYS: readonly string[] = ["backend", "name", "connection", "path"];

/** @throws ChannelError */
export function parseChannel(text: string): ChannelSpecification {
	const values = new Map<string, string>();
	const refuse = (reason: string, remedy: string): ChannelError => new ChannelError(text, reason, remedy);
	for (const item of text.split(",")) {
		const [key = "", value, more] = item.split("=").map((each) => each.trim());
		if (!KEYS.includes(key)) throw refuse(`"${key}" is unknown`, `It may have: ${KEYS.join(", ")}`);
		if (value === undefined || value === "") throw refuse(`${key} has no value`, `Write ${key}=VALUE`);
		if (more !== undefined || value.includes('"'))
			throw refuse(`the value of ${key} has one of = and "`, "Leave them out");
		if (values.has(key)) throw refuse(`${key} is given twice`, "Give it once");
		values.set(key, value);
	}
	const { name, connection, path, backend = "0" } = Object.fromEntries(values) as Partial<Record<string, string>>;
	if (backend !== "0" && backend !== "Domain-0") throw refuse(`backend=${backend} is not supported`, "Leave it out");
	if (name === undefined) throw refuse("the name is missing", "Write name=NAME: the guest finds it by that");
	switch (connection?.toLowerCase()) {
		case "pty":
			if (path !== undefined) throw refuse("a pty's path cannot be chosen", "Leave path out; xl channel-list shows it");
			return { name, connection: "pty" };
		case "socket":
			if (path === undefined) throw refuse("the socket's path is missing", "Write path=PATH");
			return { name, connection: "socket", path };
		case undefined:
			throw refuse("the connection is missing", "Write connection=pty or connection=socket");
		default:
			throw refuse(`there is no connection ${connection}`, "Write connection=pty or connection=socket");
	}
}
