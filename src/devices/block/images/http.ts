/**
 * A file on a web server, read by ranges (RFC 9110, section 14) as it is needed. Blocks are kept in memory; one read in a row fetches
 * ahead. The file must not change meanwhile: every answer is compared with the first one's ETag or date.
 */
import { BlockError, type BlockFile, type Done } from "../image.ts";
import { run, type Steps, wait } from "../steps.ts";

const BLOCK = 256 * 2 ** 10;

export interface HttpOptions {
	/** Bytes of blocks that are kept, 64 MiB by default. */
	readonly cache?: number;
	/** How often a request that fails is made again, and after how many milliseconds first; each time twice as long. */
	readonly retries?: number;
	readonly retryDelay?: number;
}

/** @throws BlockError where the server does not have the file, or does not serve ranges of it */
export async function openHttp(url: string, options: HttpOptions = {}): Promise<BlockFile> {
	const { response, bytes } = await request(url, 0, 0, undefined, options);
	const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
	if (response.status !== 206 || total === undefined || bytes.length !== 1) {
		throw new BlockError(
			"unsupported",
			url,
			"its server does not serve parts of files",
			"Download the file and attach that",
		);
	}
	return new HttpFile(url, Number(total), validatorOf(response), options);
}

/** What tells one state of a file from another: a strong ETag, or the date of its last change. */
function validatorOf({ headers }: Response): string | undefined {
	const tag = headers.get("etag");
	return tag === null || tag.startsWith("W/") ? (headers.get("last-modified") ?? undefined) : tag;
}

async function request(
	url: string,
	first: number,
	last: number,
	validator: string | undefined,
	{ retries = 4, retryDelay = 200 }: HttpOptions,
): Promise<{ readonly response: Response; readonly bytes: Uint8Array }> {
	let failure: unknown;
	for (let attempt = 0; attempt <= retries; attempt++) {
		if (attempt > 0) await new Promise((resolve) => setTimeout(resolve, retryDelay * 2 ** (attempt - 1)));
		try {
			// Compressed answers would have other lengths than what was asked for.
			const headers = { range: `bytes=${first}-${last}`, "accept-encoding": "identity" };
			const response = await fetch(url, { headers });
			if (response.status >= 500 || response.status === 429) {
				failure = new Error(`status ${response.status}`);
				await response.body?.cancel();
				continue;
			}
			if (response.status !== 206) {
				await response.body?.cancel();
				if (response.ok) return { response, bytes: new Uint8Array(0) };
				throw new BlockError(
					"cannot-open",
					url,
					`the server answers with status ${response.status}`,
					"Check the address",
				);
			}
			if (validator !== undefined && validatorOf(response) !== validator) {
				await response.body?.cancel();
				throw new BlockError("input-output", url, "has changed on its server", "Attach it again");
			}
			const bytes = new Uint8Array(await response.arrayBuffer());
			if (bytes.length !== last - first + 1) throw new Error(`${bytes.length} bytes in place of ${last - first + 1}`);
			return { response, bytes };
		} catch (error) {
			if (error instanceof BlockError) throw error;
			failure = error;
		}
	}
	const reason = `cannot be read: ${failure instanceof Error ? failure.message : String(failure)}`;
	throw new BlockError("input-output", url, reason, "Check the network and the address", { cause: failure });
}

class HttpFile implements BlockFile {
	readonly readOnly = true;
	readonly holeGranularity = 0;
	/** Blocks, the least recently used first; or what is on its way. */
	private readonly blocks = new Map<number, Uint8Array | Promise<void>>();
	private readonly most: number;
	private lastBlock = -1;
	private closed = false;

	constructor(
		readonly name: string,
		readonly size: number,
		private readonly validator: string | undefined,
		private readonly options: HttpOptions,
	) {
		this.most = Math.max(4, Math.floor((options.cache ?? 64 * 2 ** 20) / BLOCK));
	}

	read(to: Uint8Array, position: number): Done {
		return run(this.reading(to, position));
	}

	write(): Done {
		throw new BlockError(
			"read-only",
			this.name,
			"a server's file can only be read",
			"Attach it with access r, or with snapshot",
		);
	}

	sync(): Done {
		return undefined;
	}

	punch(): Done {
		return undefined;
	}

	truncate(): Done {
		return this.write();
	}

	async close(): Promise<void> {
		this.closed = true;
		this.blocks.clear();
	}

	private *reading(to: Uint8Array, position: number): Steps {
		for (let done = 0; done < to.length; ) {
			const at = position + done;
			if (at >= this.size) {
				to.fill(0, done);
				return;
			}
			const index = Math.floor(at / BLOCK);
			let block = this.find(index);
			// It may have been thrown out again before its turn came.
			while (!(block instanceof Uint8Array)) {
				yield* wait(block ?? this.fetch(index));
				block = this.find(index);
			}
			if (index === this.lastBlock + 1 && (index + 1) * BLOCK < this.size && !this.blocks.has(index + 1)) {
				this.fetch(index + 1).catch(() => {});
			}
			this.lastBlock = index;
			const within = at - index * BLOCK;
			const count = Math.min(to.length - done, block.length - within);
			to.set(block.subarray(within, within + count), done);
			done += count;
		}
	}

	private find(index: number): Uint8Array | Promise<void> | undefined {
		const block = this.blocks.get(index);
		if (block instanceof Uint8Array) {
			this.blocks.delete(index);
			this.blocks.set(index, block);
		}
		return block;
	}

	private fetch(index: number): Promise<void> {
		const first = index * BLOCK;
		const last = Math.min(first + BLOCK, this.size) - 1;
		const arriving = request(this.name, first, last, this.validator, this.options).then(
			({ response, bytes }) => {
				if (response.status !== 206)
					throw new BlockError("input-output", this.name, "its server has stopped serving parts", "Attach it again");
				if (!this.closed) this.keep(index, bytes);
			},
			(error: unknown) => {
				this.blocks.delete(index);
				throw error;
			},
		);
		this.blocks.set(index, arriving);
		return arriving;
	}

	private keep(index: number, bytes: Uint8Array): void {
		this.blocks.delete(index);
		for (const [oldest, block] of this.blocks) {
			if (this.blocks.size < this.most) break;
			if (block instanceof Uint8Array) this.blocks.delete(oldest);
		}
		this.blocks.set(index, bytes);
	}
}
