/**
 * xl's specifications of shared folders (xl.cfg(5), p9=["tag=TAG,path=PATH,security_model=none", ...]). Every key is honoured or refused
 * by its name.
 */

export interface P9Specification {
	/** The name by which the guest mounts it. */
	readonly tag: string;
	/** The folder of the host. */
	readonly path: string;
	/** The guest can change nothing. Ours, not xl's. */
	readonly readOnly: boolean;
}

/** A specification that cannot be carried out: what, and what to do. */
export class ShareSpecificationError extends Error {
	override readonly name = "ShareSpecificationError";
	readonly code = "invalid-specification";

	constructor(
		readonly specification: string,
		readonly reason: string,
		readonly remedy: string,
	) {
		super(`share "${specification}": ${reason}`);
	}
}

/** What mount(8) takes for a source and our /init for a directory's name. */
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,30}$/;
const KEYS = ["tag", "path", "security_model", "backend", "readonly"];
/** Keys of later versions of xl, for a back end that is a program of its own. */
const REFUSED: Readonly<Record<string, string>> = {
	type: "there is one kind of back end",
	"max-space": "there is no limit for space",
	"max-files": "there is no limit for files",
	"max-open-files": "the limit for open files is fixed",
	"auto-delete": "nothing is deleted by itself",
};

/** @throws ShareSpecificationError */
export function checkTag(specification: string, tag: string): void {
	if (TAG.test(tag)) return;
	throw new ShareSpecificationError(
		specification,
		`"${tag}" is no tag`,
		"Use up to 31 letters, digits and the signs _ . : -, of which the last three do not come first",
	);
}

/** @throws ShareSpecificationError */
export function parseP9(text: string): P9Specification {
	const values = new Map<string, string>();
	const refuse = (reason: string, remedy: string): never => {
		throw new ShareSpecificationError(text, reason, remedy);
	};
	for (const item of text.split(",")) {
		const equals = item.indexOf("=");
		const key = (equals < 0 ? item : item.slice(0, equals)).trim();
		const refused = Object.hasOwn(REFUSED, key) ? REFUSED[key] : undefined;
		if (refused !== undefined) refuse(`${key} is not supported: ${refused}`, "Leave it out");
		if (!KEYS.includes(key)) refuse(`"${key}" is unknown`, `It may have: ${KEYS.join(", ")}`);
		if (equals < 0) refuse(`${key} has no value`, `Write ${key}=VALUE`);
		if (values.has(key)) refuse(`${key} is given twice`, "Give it once");
		values.set(key, item.slice(equals + 1).trim());
	}
	const { tag, path, security_model: model = "none", backend = "0", readonly = "0" } = Object.fromEntries(values);
	if (tag === undefined) return refuse("the tag is missing", "Write tag=TAG");
	if (path === undefined || path === "") return refuse("the path is missing", "Write path=FOLDER");
	checkTag(text, tag);
	if (model !== "none") refuse(`security_model=${model} is not supported`, "Leave it out, or give none");
	if (backend !== "0" && backend !== "Domain-0") refuse(`backend=${backend} is not supported`, "Leave it out");
	if (readonly !== "0" && readonly !== "1") refuse(`readonly=${readonly} is not possible`, "Give 0 or 1");
	return { tag, path, readOnly: readonly === "1" };
}

/**
 * What `--share` takes: PATH[:TAG][:ro] (or rw). Without a tag it is the folder's own name.
 * @throws ShareSpecificationError
 */
export function parseShare(text: string): P9Specification {
	const parts = text.split(":");
	const last = parts.at(-1);
	const access = parts.length > 1 && (last === "ro" || last === "rw") ? parts.pop() : undefined;
	const tag = parts.length > 1 ? parts.pop() : undefined;
	const path = parts.join(":");
	if (path === "") throw new ShareSpecificationError(text, "the folder is missing", "Write PATH[:TAG][:ro]");
	const name = tag ?? path.replace(/\/+$/, "").split("/").at(-1) ?? "";
	if (tag === undefined && !TAG.test(name)) {
		throw new ShareSpecificationError(text, `"${name}" is no tag`, `Give one: ${path}:TAG`);
	}
	checkTag(text, name);
	return { tag: name, path, readOnly: access === "ro" };
}
