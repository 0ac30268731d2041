/**
 * Permissions of a node: a list of (domain, access). The first entry names the owner, who may do everything, and with its access what
 * all domains may that the list does not name. Domain 0 may do everything everywhere.
 */

/** XS_PERM_* of xenstore_lib.h, and the right to change permissions. */
export const Access = { none: 0, read: 1, write: 2, owner: 4 } as const;
const EVERYTHING = Access.read | Access.write | Access.owner;

export interface Permission {
	readonly domid: number;
	/** Access.read, Access.write, both, or none. */
	readonly access: number;
}
export type Permissions = readonly [Permission, ...Permission[]];

/** Who asks. */
export interface Caller {
	readonly domid: number;
	/** Domain 0 and whoever may speak for it. */
	readonly privileged: boolean;
	/** A domain whose rights it has too (SET_TARGET): that of a device model. */
	readonly target: number | undefined;
}

/** What only domain 0 may use: n0. */
export const PRIVATE: Permissions = [{ domid: 0, access: Access.none }];

export function ownerOf(permissions: Permissions): number {
	return permissions[0].domid;
}

/** What a caller may do: Access bits. */
export function accessOf(caller: Caller, permissions: Permissions): number {
	const owner = permissions[0].domid;
	if (caller.privileged || caller.domid === owner || caller.target === owner) return EVERYTHING;
	for (let index = 1; index < permissions.length; index++) {
		const { domid, access } = permissions[index] as Permission;
		if (domid === caller.domid || domid === caller.target) return access;
	}
	return permissions[0].access;
}

const LETTERS = "nrwb";

/**
 * "n0", "r3", "w5", "b7": xs_perm_as_string. Undefined where one is malformed, or there is none; numbers that no domain can have are
 * not, as in xenstored.
 */
export function parsePermissions(strings: readonly string[]): Permissions | undefined {
	const permissions: Permission[] = [];
	for (const text of strings) {
		if (!/^[nrwb]-?\d{1,10}$/.test(text)) return undefined;
		permissions.push({ domid: Number(text.slice(1)) >>> 0, access: LETTERS.indexOf(text.charAt(0)) });
	}
	const [first, ...others] = permissions;
	return first === undefined ? undefined : [first, ...others];
}

export function formatPermissions(permissions: Permissions): string[] {
	return permissions.map(({ domid, access }) => `${LETTERS.charAt(access)}${domid}`);
}

/** Those of a node that an unprivileged domain creates: its parent's, with itself as the owner. */
export function inheritedPermissions(parent: Permissions, caller: Caller): Permissions {
	if (caller.privileged || parent[0].domid === caller.domid) return parent;
	const [first, ...others] = parent;
	return [{ domid: caller.domid, access: first.access }, ...others];
}

/** Without the entries of a domain that is gone, so that a later one of its number has no access; its owner stays. */
export function withoutDomain(permissions: Permissions, domid: number): Permissions {
	const [first, ...others] = permissions;
	const left = others.filter((permission) => permission.domid !== domid);
	return left.length === others.length ? permissions : [first, ...left];
}
