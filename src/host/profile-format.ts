/**
 * A profile as text: a table of functions, folded stacks (a line each, as Brendan Gregg's FlameGraph reads them), or a flame graph as SVG, in which
 * the width of a function is its share of all instructions and what it calls stands on it.
 */
import type { Profile } from "../xen/profile.ts";

export type ProfileFormat = "table" | "folded" | "svg";

/** By the file's name: .svg, .folded, else a table. */
export function profileFormatOf(file: string): ProfileFormat {
	return file.endsWith(".svg") ? "svg" : file.endsWith(".folded") ? "folded" : "table";
}

export function formatProfile(profile: Profile, format: ProfileFormat): string {
	if (format === "svg") return formatSvg(profile);
	return format === "folded" ? formatFolded(profile) : formatTable(profile);
}

function formatFolded({ stacks }: Profile): string {
	return [...stacks]
		.map(([stack, samples]) => `${stack} ${samples}\n`)
		.sort()
		.join("");
}

const MODES: ReadonlySet<string> = new Set(["kernel", "user"]);
/** Functions below this share are left out of the table. */
const LEAST_SHARE = 0.0005;

function formatTable({ stacks, interval }: Profile): string {
	const own = new Map<string, number>();
	const total = new Map<string, number>();
	let all = 0;
	const add = (counts: Map<string, number>, name: string, samples: number): void => {
		counts.set(name, (counts.get(name) ?? 0) + samples);
	};
	for (const [stack, samples] of stacks) {
		all += samples;
		const frames = stack.split(";");
		const mode = frames.findIndex((frame) => MODES.has(frame));
		const names = frames.slice(mode + 1).map((name) => `${frames[mode]?.padEnd(6)}  ${name}`);
		add(own, names[names.length - 1] as string, samples);
		for (const name of new Set(names)) add(total, name, samples);
	}
	const percent = (samples: number): string => ((100 * samples) / Math.max(all, 1)).toFixed(2).padStart(6);
	const rows = [...total]
		.map(([name, inclusive]) => ({ name, inclusive, self: own.get(name) ?? 0 }))
		.filter(({ inclusive }) => inclusive >= all * LEAST_SHARE)
		.sort((a, b) => b.self - a.self || b.inclusive - a.inclusive);
	return [
		`${all} samples, one each ${interval} instructions. Percent of instructions: own, and with what is called.\n`,
		"   own   with  mode    function",
		...rows.map(({ name, inclusive, self }) => `${percent(self)} ${percent(inclusive)}  ${name}`),
		"",
	].join("\n");
}

interface Frame {
	samples: number;
	readonly children: Map<string, Frame>;
}

const WIDTH = 1200;
const ROW = 17;
const MARGIN = 10;
/** Narrower ones cannot be seen. */
const LEAST_WIDTH = 0.3;
const CHARACTER = 6.6;

function formatSvg({ stacks, interval }: Profile): string {
	const root: Frame = { samples: 0, children: new Map() };
	let depth = 0;
	for (const [stack, samples] of stacks) {
		const names = stack.split(";");
		depth = Math.max(depth, names.length);
		let frame = root;
		frame.samples += samples;
		for (const name of names) {
			let child = frame.children.get(name);
			if (child === undefined) {
				child = { samples: 0, children: new Map() };
				frame.children.set(name, child);
			}
			child.samples += samples;
			frame = child;
		}
	}
	const scale = (WIDTH - 2 * MARGIN) / Math.max(root.samples, 1);
	const height = (depth + 1) * ROW + 2 * MARGIN + 24;
	const boxes: string[] = [];
	const draw = (name: string, frame: Frame, x: number, level: number): void => {
		const width = frame.samples * scale;
		if (width < LEAST_WIDTH) return;
		const y = height - MARGIN - (level + 1) * ROW;
		const share = ((100 * frame.samples) / Math.max(root.samples, 1)).toFixed(2);
		const room = Math.floor((width - 4) / CHARACTER);
		const label = room < 3 ? "" : name.length <= room ? name : `${name.slice(0, room - 1)}…`;
		boxes.push(
			`<g><title>${escapeXml(name)}: ${frame.samples} samples, ${share} %</title>` +
				`<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" rx="2" fill="${colour(name)}"/>` +
				`<text x="${(x + 3).toFixed(1)}" y="${y + 12}">${escapeXml(label)}</text></g>`,
		);
		let at = x;
		for (const [child, value] of [...frame.children].sort(([a], [b]) => (a < b ? -1 : 1))) {
			draw(child, value, at, level + 1);
			at += value.samples * scale;
		}
	};
	draw("all", root, MARGIN, 0);
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="monospace" font-size="11">`,
		`<rect width="100%" height="100%" fill="#fff"/>`,
		`<text x="${MARGIN}" y="20">${root.samples} samples, one each ${interval} guest instructions</text>`,
		...boxes,
		"</svg>\n",
	].join("\n");
}

function escapeXml(text: string): string {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The same for the same name in every graph. */
function colour(name: string): string {
	let hash = 0;
	for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) % 9973;
	return `hsl(${hash % 50} 85% ${62 + (hash % 12)}%)`;
}
