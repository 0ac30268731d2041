/**
 * The requests of the wire protocol, each with who may make it and what it answers (docs/misc/xenstore.txt). Payloads are checked as
 * Xen 4.17's xenstored checks them.
 */
import { DOMID_SELF } from "../xen/abi/domid.ts";
import { XENSTORE_PAYLOAD_MAX, XENSTORE_REL_PATH_MAX, XsType } from "../xen/abi/xenstore.ts";
import type { Connection } from "./connection.ts";
import type { XsError } from "./errors.ts";
import * as operations from "./operations.ts";
import { decodeText, encodeText, joinStrings, type Packet, splitStrings } from "./packet.ts";
import { homePath, type Path, parsePath } from "./path.ts";
import { formatPermissions, parsePermissions } from "./permissions.ts";
import type { StoreServer } from "./server.ts";
import type { Space } from "./space.ts";
import { Transaction } from "./transaction.ts";

export interface Request {
	readonly server: StoreServer;
	readonly connection: Connection;
	readonly space: Space;
	readonly packet: Packet;
}
/** The payload of the reply, or why there is none. */
type Reply = Uint8Array | XsError;

export interface RequestType {
	readonly name: string;
	readonly handle: (request: Request) => Reply;
	/** Only for domain 0. */
	readonly privileged?: true;
	/** The transaction of the header does not matter. */
	readonly outsideTransactions?: true;
}

const OK = encodeText("OK\0");

const done = (error: XsError | undefined): Reply => error ?? OK;

/** The payload, where it is one string and nothing more. */
function onlyString({ packet: { payload } }: Request): string | undefined {
	return payload.indexOf(0) === payload.length - 1 ? decodeText(payload.subarray(0, -1)) : undefined;
}

/** The number at a text's beginning, as atoi finds it. */
function number(text: string | undefined): number {
	return Number.parseInt(text ?? "", 10) || 0;
}

function pathOf(request: Request, text: string | undefined): Path | undefined {
	return text === undefined ? undefined : parsePath(text, request.connection.home);
}

/** A request whose payload is a path. */
function onPath(handle: (request: Request, path: Path) => Reply): (request: Request) => Reply {
	return (request) => {
		const path = pathOf(request, onlyString(request));
		return path === undefined ? "EINVAL" : handle(request, path);
	};
}

/** Names of children as they go over the wire. */
function childNames(
	request: Request,
	path: Path,
): { readonly list: Uint8Array; readonly generation: number } | XsError {
	const node = operations.directory(request.space, request.connection.caller, path);
	return typeof node === "string" ? node : { list: joinStrings(node.names), generation: node.generation };
}

function directory(request: Request, path: Path): Reply {
	const found = childNames(request, path);
	return typeof found === "string" ? found : found.list;
}

/** As many whole names from an offset on as a message holds, with an empty one behind the last. */
function directoryPart(request: Request): Reply {
	const [text, offsetText] = splitStrings(request.packet.payload, 2);
	const path = pathOf(request, text);
	if (path === undefined || offsetText === undefined) return "EINVAL";
	const found = childNames(request, path);
	if (typeof found === "string") return found;
	const { list } = found;
	const generation = encodeText(`${found.generation}\0`);
	const start = number(offsetText);
	if (start < 0 || start >= list.length) return concatenate(generation, new Uint8Array(1));
	const most = XENSTORE_PAYLOAD_MAX - generation.length - 1;
	let end = list.length;
	if (end - start > most) end = list.lastIndexOf(0, start + most - 1) + 1;
	const part = list.subarray(start, Math.max(start, end));
	return concatenate(generation, end === list.length ? concatenate(part, new Uint8Array(1)) : part);
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
	const bytes = new Uint8Array(first.length + second.length);
	bytes.set(first);
	bytes.set(second, first.length);
	return bytes;
}

function write({ space, connection, packet: { payload } }: Request): Reply {
	const end = payload.indexOf(0);
	const path = end < 0 ? undefined : parsePath(decodeText(payload.subarray(0, end)), connection.home);
	if (path === undefined) return "EINVAL";
	return done(operations.write(space, connection.caller, connection.quota, path, payload.slice(end + 1)));
}

function getPermissions(request: Request): Reply {
	const { connection, server, space } = request;
	const text = onlyString(request);
	// Those of the special events are domain 0's business.
	if (text?.startsWith("@") === true && connection.caller.privileged) {
		const permissions = server.store.special.get(text);
		return permissions === undefined ? "ENOENT" : joinStrings(formatPermissions(permissions));
	}
	const path = pathOf(request, text);
	if (path === undefined) return "EINVAL";
	const permissions = operations.getPermissions(space, connection.caller, path);
	return typeof permissions === "string" ? permissions : joinStrings(formatPermissions(permissions));
}

function setPermissions(request: Request): Reply {
	const { connection, server, space, packet } = request;
	const [text, ...strings] = splitStrings(packet.payload);
	const permissions = parsePermissions(strings);
	if (text === undefined || permissions === undefined) return "EINVAL";
	if (!server.domainExists(permissions[0].domid)) return "ENOENT";
	if (text.startsWith("@")) {
		if (!connection.caller.privileged) return "EACCES";
		if (!server.store.special.has(text)) return "EINVAL";
		server.store.special.set(text, permissions);
		return OK;
	}
	const path = pathOf(request, text);
	if (path === undefined) return "EINVAL";
	return done(operations.setPermissions(space, connection.caller, connection.quota, path, permissions));
}

/** What WATCH and UNWATCH name: a path, absolute or relative, or a special event; and a token. */
function watched(
	request: Request,
): { readonly path: string; readonly token: string; readonly strip: number } | undefined {
	const [text, token] = splitStrings(request.packet.payload, 2);
	if (text === undefined || token === undefined) return undefined;
	if (text.startsWith("@")) return text.length > XENSTORE_REL_PATH_MAX ? undefined : { path: text, token, strip: 0 };
	const path = pathOf(request, text);
	if (path === undefined) return undefined;
	return { path: path.text, token, strip: text.startsWith("/") ? 0 : path.text.length - text.length };
}

function watch(request: Request): Reply {
	const { connection, server } = request;
	const wanted = watched(request);
	if (wanted === undefined) return "EINVAL";
	const { path, token, strip } = wanted;
	if (server.watches.find(connection, path, token) !== undefined) return "EEXIST";
	if (!connection.caller.privileged && server.watches.countOf(connection) >= connection.quota.watches) return "E2BIG";
	server.addWatch(connection, path, token, strip);
	return OK;
}

function unwatch(request: Request): Reply {
	const { connection, server } = request;
	const wanted = watched(request);
	if (wanted === undefined) return "EINVAL";
	const found = server.watches.find(connection, wanted.path, wanted.token);
	if (found === undefined) return "ENOENT";
	server.watches.remove(found);
	return OK;
}

function resetWatches({ connection, server }: Request): Reply {
	server.watches.removeAll(connection);
	connection.transactions.clear();
	return OK;
}

function transactionStart({ connection, server, space }: Request): Reply {
	if (space instanceof Transaction) return "EBUSY";
	const { caller, quota, transactions } = connection;
	if (!caller.privileged && transactions.size >= quota.transactions) return "ENOSPC";
	let id = connection.nextTransaction;
	while (id === 0 || transactions.has(id)) id = (id + 1) >>> 0;
	connection.nextTransaction = (id + 1) >>> 0;
	transactions.set(id, new Transaction(server.store, id, caller.domid, caller.privileged ? undefined : quota));
	return encodeText(`${id}\0`);
}

function transactionEnd(request: Request): Reply {
	const { connection, space } = request;
	const text = onlyString(request);
	if (text !== "T" && text !== "F") return "EINVAL";
	if (!(space instanceof Transaction)) return "ENOENT";
	connection.transactions.delete(space.id);
	return done(text === "T" ? space.commit() : undefined);
}

function getDomainPath(request: Request): Reply {
	const text = onlyString(request);
	return text === undefined ? "EINVAL" : encodeText(`${homePath(number(text) >>> 0)}\0`);
}

function isDomainIntroduced(request: Request): Reply {
	const text = onlyString(request);
	if (text === undefined) return "EINVAL";
	const domid = number(text);
	return encodeText(domid === DOMID_SELF || request.server.isIntroduced(domid) ? "T\0" : "F\0");
}

/** A request of domain 0 about a domain that the store serves. */
function onDomain(handle: (server: StoreServer, domid: number) => XsError | undefined): (request: Request) => Reply {
	return (request) => {
		const text = onlyString(request);
		const domid = number(text);
		if (text === undefined || domid === 0) return "EINVAL";
		return request.server.isIntroduced(domid) ? done(handle(request.server, domid)) : "ENOENT";
	};
}

/** The frame's number is not looked at: the ring is the page that the domain has granted for it. */
function introduce({ server, packet }: Request): Reply {
	const [domid, frame, port] = splitStrings(packet.payload, 3);
	if (domid === undefined || frame === undefined || port === undefined) return "EINVAL";
	if (number(domid) <= 0 || number(port) <= 0) return "EINVAL";
	return done(server.introduce(number(domid), number(port)));
}

function setTarget({ server, packet }: Request): Reply {
	const [domid, target] = splitStrings(packet.payload, 2);
	if (domid === undefined || target === undefined || number(domid) === 0 || number(target) === 0) return "EINVAL";
	return done(server.setTarget(number(domid), number(target)));
}

/** Commands for the daemon itself; there is little that this one can be told. */
function control({ server, packet }: Request): Reply {
	const [command, text] = splitStrings(packet.payload);
	if (command === "help") return encodeText("Supported commands:\nhelp\nprint <string>\n\0");
	if (command !== "print" || text === undefined) return "EINVAL";
	server.log(text);
	return OK;
}

export const requestTypes: Readonly<Record<number, RequestType>> = {
	[XsType.control]: { name: "CONTROL", handle: control, privileged: true, outsideTransactions: true },
	[XsType.directory]: { name: "DIRECTORY", handle: onPath(directory) },
	[XsType.directoryPart]: { name: "DIRECTORY_PART", handle: directoryPart },
	[XsType.read]: {
		name: "READ",
		handle: onPath(({ space, connection }, path) => operations.read(space, connection.caller, path)),
	},
	[XsType.getPerms]: { name: "GET_PERMS", handle: getPermissions },
	[XsType.watch]: { name: "WATCH", handle: watch, outsideTransactions: true },
	[XsType.unwatch]: { name: "UNWATCH", handle: unwatch, outsideTransactions: true },
	[XsType.transactionStart]: { name: "TRANSACTION_START", handle: transactionStart },
	[XsType.transactionEnd]: { name: "TRANSACTION_END", handle: transactionEnd },
	[XsType.introduce]: { name: "INTRODUCE", handle: introduce, privileged: true, outsideTransactions: true },
	[XsType.release]: {
		name: "RELEASE",
		handle: onDomain((server, domid) => server.release(domid)),
		privileged: true,
		outsideTransactions: true,
	},
	[XsType.getDomainPath]: { name: "GET_DOMAIN_PATH", handle: getDomainPath, outsideTransactions: true },
	[XsType.write]: { name: "WRITE", handle: write },
	[XsType.mkdir]: {
		name: "MKDIR",
		handle: onPath(({ space, connection: { caller, quota } }, path) =>
			done(operations.makeDirectory(space, caller, quota, path)),
		),
	},
	[XsType.rm]: {
		name: "RM",
		handle: onPath(({ space, connection }, path) => done(operations.remove(space, connection.caller, path))),
	},
	[XsType.setPerms]: { name: "SET_PERMS", handle: setPermissions },
	[XsType.isDomainIntroduced]: {
		name: "IS_DOMAIN_INTRODUCED",
		handle: isDomainIntroduced,
		privileged: true,
		outsideTransactions: true,
	},
	[XsType.resume]: {
		name: "RESUME",
		handle: onDomain((server, domid) => server.resume(domid)),
		privileged: true,
		outsideTransactions: true,
	},
	[XsType.setTarget]: { name: "SET_TARGET", handle: setTarget, privileged: true, outsideTransactions: true },
	[XsType.resetWatches]: { name: "RESET_WATCHES", handle: resetWatches, outsideTransactions: true },
};
