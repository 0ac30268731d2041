/** The library's Host on Node.js. */

import { nodePlatform } from "../platform/node/platform.ts";
import { type StoreSocket, serveStore } from "../platform/node/store-socket.ts";
import { type HostOptions, Host as PortableHost } from "./host.ts";

/** A machine that runs guests. See the README for an example. */
export class Host extends PortableHost {
	constructor(options: HostOptions) {
		super(options, nodePlatform);
	}

	/**
	 * Serves xenstore on a Unix-domain socket, for programs that use libxenstore: they find it by XENSTORED_PATH. It is the user's own
	 * and gives every right in the store. Until it is closed, the program does not end by itself.
	 * @throws the error of the system where the socket cannot be made.
	 */
	serveStore(path: string): Promise<StoreSocket> {
		return serveStore(this.machine.storeServer, path);
	}
}
