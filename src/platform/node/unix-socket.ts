/** Unix-domain sockets that only the user can connect to, in the place of those that nobody listens to any more. */
import { lstat, unlink } from "node:fs/promises";
import { createConnection, type Server } from "node:net";

/**
 * Listens at a path.
 * @throws the error of the system where that cannot be: EADDRINUSE where another program listens there, or there is another file.
 */
export async function listenAt(server: Server, path: string): Promise<void> {
	try {
		await listen(server, path);
	} catch (error) {
		const inUse = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
		if (!inUse || !(await lstat(path)).isSocket() || (await isAnswered(path))) throw error;
		await unlink(path);
		await listen(server, path);
	}
}

function listen(server: Server, path: string): Promise<void> {
	return new Promise((resolve, reject) => {
		// Nobody else may connect even between the socket's making and a chmod.
		const mask = process.umask(0o177);
		try {
			server.once("error", reject);
			server.listen(path, () => {
				server.off("error", reject);
				resolve();
			});
		} finally {
			process.umask(mask);
		}
	});
}

/** Somebody listens on a socket. */
function isAnswered(path: string): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = createConnection(path);
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(false));
	});
}
