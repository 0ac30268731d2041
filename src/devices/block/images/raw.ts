/** Raw images: the disk's bytes as the file's. A CD's (ISO) is one that is only read. */
import { BlockError, type BlockFile, type BlockImage, type Done } from "../image.ts";

const SECTOR = 512;

export class RawImage implements BlockImage {
	private bytes: number;
	readonly readv: BlockImage["readv"];
	readonly writev: BlockImage["writev"];

	constructor(
		private readonly file: BlockFile,
		readonly readOnly = file.readOnly,
	) {
		// A file that ends within a sector: its last one is filled up with zeros, where it can be; the rest is not shown.
		this.bytes = readOnly ? Math.ceil(file.size / SECTOR) * SECTOR : Math.floor(file.size / SECTOR) * SECTOR;
		this.readv = file.readv?.bind(file);
		this.writev = file.writev?.bind(file);
	}

	get size(): number {
		return this.bytes;
	}

	get discardGranularity(): number {
		return this.readOnly ? 0 : this.file.holeGranularity;
	}

	get immediate(): boolean {
		return this.file.immediate === true;
	}

	read(to: Uint8Array, position: number): Done {
		return this.file.read(to, position);
	}

	write(from: Uint8Array, position: number): Done {
		return this.file.write(from, position);
	}

	flush(): Done {
		return this.readOnly ? undefined : this.file.sync();
	}

	discard(position: number, length: number): Done {
		return this.file.punch(position, length);
	}

	resize(size: number): Done {
		if (this.readOnly)
			throw new BlockError("read-only", this.file.name, "opened for reading only", "Attach it writable.");
		if (size < this.bytes) {
			const remedy = "A disk that a guest uses can only grow; shrink the file itself while no guest has it.";
			throw new BlockError("unsupported", this.file.name, "cannot be made smaller", remedy);
		}
		const done = this.file.truncate(size);
		if (done === undefined) {
			this.bytes = size;
			return undefined;
		}
		return done.then(() => {
			this.bytes = size;
		});
	}

	async close(): Promise<void> {
		try {
			await this.flush();
		} finally {
			await this.file.close();
		}
	}
}
