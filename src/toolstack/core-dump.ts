/** Core dumps. */
import type { Domain } from "../xen/domain.ts";
import { ToolstackError } from "./errors.ts";

/** Gets the pieces of a file, in order. */
export type CoreWriter = (piece: Uint8Array) => void | Promise<void>;

export async function writeCore(_domain: Domain, _write: CoreWriter, _gone: () => boolean): Promise<void> {
	throw new ToolstackError("unsupported", "core dumps are not there yet", "Wait for the next landing");
}
