/** `paravirt image create`: a disk image with a Debian system on it. */
import { stat } from "node:fs/promises";
import type { ArgsDef, CommandDef } from "citty";
import { createImage } from "../guests/image.ts";
import { UsageError } from "./errors.ts";
import { parseSize } from "./options.ts";
import { createProgress } from "./progress.ts";

const LEAST_SIZE = 512 * 2 ** 20;
/** What Debian's policy allows as a package's name, with an architecture or a suite behind it as apt takes them. */
const PACKAGE = /^[a-z0-9][a-z0-9.+-]+(?:[:/][a-z0-9-]+)?$/;
const HOSTNAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

const args: ArgsDef = {
	action: { type: "positional", required: false, description: "create", valueHint: "create" },
	file: { type: "positional", required: false, description: "The image to make: a raw one, sparse", valueHint: "FILE" },
	size: { type: "string", description: "The disk's size, e.g. 8G (default: 2G)", valueHint: "SIZE" },
	suite: { type: "string", description: "Debian suite (default: the machine's own)", valueHint: "SUITE" },
	packages: { type: "string", description: "Further packages", valueHint: "A,B" },
	hostname: { type: "string", description: "The system's name (default: debian)", valueHint: "NAME" },
	"without-kernel": {
		type: "boolean",
		description: "Leave kernel and modules out: smaller, boots by a kernel from outside only",
	},
	force: { type: "boolean", description: "Replace FILE where it exists" },
};

export const imageCommand: CommandDef = {
	meta: { name: "image", description: "Make a disk image with a Debian system" },
	args,
	async run({ args: values }) {
		const { action, file, size, suite, packages = "", hostname, force } = values as Record<string, string | undefined>;
		if (action !== "create")
			throw new UsageError(
				action === undefined ? "image needs an action and a file" : `image: "${action}" is no action`,
				"Write paravirt image create FILE.",
			);
		if (file === undefined) throw new UsageError("image create needs a file", "Write paravirt image create FILE.");
		const bytes = size === undefined ? 2 * 2 ** 30 : parseSize("size", size);
		if (bytes < LEAST_SIZE) throw new UsageError(`--size: ${size} is too small for Debian`, "Give 1G or more.");
		const names = packages.split(",").filter((name) => name !== "");
		const wrong = names.find((name) => !PACKAGE.test(name));
		if (wrong !== undefined)
			throw new UsageError(`--packages: "${wrong}" is no package's name`, "Write --packages a,b.");
		if (suite !== undefined && !/^[a-z][a-z0-9-]*$/.test(suite)) {
			throw new UsageError(`--suite: "${suite}" is no name of a Debian suite`, "Give a name such as trixie or sid.");
		}
		if (hostname !== undefined && !HOSTNAME.test(hostname)) {
			throw new UsageError(`--hostname: "${hostname}" is no host's name`, "Use small letters, digits and hyphens.");
		}
		if (/\.(?:qcow2?|vhd|vmdk)$/i.test(file)) {
			throw new UsageError(
				`${file}: images are raw ones`,
				"Name it debian.img; an overlay or qemu-img makes a qcow2 of it.",
			);
		}
		if (force === undefined && (await stat(file).catch(() => undefined)) !== undefined) {
			throw new UsageError(`${file} exists already`, "Name another file, or add --force.");
		}
		const progress = await createProgress();
		try {
			const kernel = values["without-kernel"] !== true;
			await createImage(file, {
				size: bytes,
				suite,
				packages: names,
				kernel,
				progress: progress.listener,
				...(hostname === undefined ? {} : { hostname }),
			});
		} finally {
			progress.stop();
		}
		process.stderr.write(`Boot it: paravirt boot --disk ${file},raw,xvda,rw --append root=/dev/xvda\n`);
	},
};
