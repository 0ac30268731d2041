/** Profiles as text: shares, folded stacks and flame graphs of a few known samples. */
import { describe, expect, it } from "vitest";
import { formatProfile, profileFormatOf } from "../../src/host/profile-format.ts";

const profile = {
	interval: 1000,
	stacks: new Map([
		["kernel;start;work", 6],
		["kernel;start", 2],
		["kernel;start;work;start", 1],
		["user;[401000]", 1],
	]),
};

describe("profiles", () => {
	it("are formatted as the file's name asks", () => {
		expect(["a.svg", "a.folded", "a.txt", "svg"].map(profileFormatOf)).toEqual(["svg", "folded", "table", "table"]);
	});

	it("have own and inclusive shares, a recursive function counted once", () => {
		const rows = formatProfile(profile, "table").trimEnd().split("\n").slice(3);
		expect(rows).toEqual([
			" 60.00  70.00  kernel  work",
			" 30.00  90.00  kernel  start",
			" 10.00  10.00  user    [401000]",
		]);
	});

	it("fold to a line a stack", () => {
		expect(formatProfile(profile, "folded")).toBe(
			"kernel;start 2\nkernel;start;work 6\nkernel;start;work;start 1\nuser;[401000] 1\n",
		);
	});

	it("draw each function as wide as its share, and escape names", () => {
		const svg = formatProfile(
			{
				interval: 1,
				stacks: new Map([
					["kernel;a<b>", 3],
					["user;c", 1],
				]),
			},
			"svg",
		);
		expect(svg).toContain("<title>a&lt;b&gt;: 3 samples, 75.00 %</title>");
		const widths = [...svg.matchAll(/width="([\d.]+)" height="16"/g)].map((match) => Number(match[1]));
		expect(widths).toEqual([1180, 885, 885, 295, 295]);
	});
});
