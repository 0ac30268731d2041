/**
 * Errors of xenstore. The wire carries their names (xsd_errors of xs_wire.h), so inside the store a failure is its name too: requests
 * of hostile guests fail all the time, and a returned string costs nothing.
 */
export type XsError =
	| "EINVAL"
	| "EACCES"
	| "EEXIST"
	| "EISDIR"
	| "ENOENT"
	| "ENOMEM"
	| "ENOSPC"
	| "EIO"
	| "ENOTEMPTY"
	| "ENOSYS"
	| "EROFS"
	| "EBUSY"
	| "EAGAIN"
	| "EISCONN"
	| "E2BIG"
	| "EPERM";

/** What {@link import("./client.ts").StoreClient} throws where the store refuses. */
export class StoreError extends Error {
	override readonly name = "StoreError";

	constructor(
		readonly code: XsError,
		operation: string,
		readonly path: string,
	) {
		super(`xenstore: ${operation} ${path}: ${code}`);
	}
}
