import type { ArgsDef } from "citty";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../src/cli/errors.ts";
import {
	Arguments,
	checkArguments,
	nearestName,
	parseChoice,
	parseCount,
	parseSeconds,
	parseSize,
} from "../../src/cli/options.ts";

const DEFINITION: ArgsDef = {
	kernel: { type: "positional", required: false },
	memory: { type: "string", valueHint: "SIZE" },
	append: { type: "string" },
	update: { type: "boolean" },
};

describe("values of options", () => {
	it("are sizes", () => {
		const MIB = 2 ** 20;
		const sizes = {
			"512M": 512 * MIB,
			"512": 512 * MIB,
			"1.5G": 1536 * MIB,
			"2GiB": 2048 * MIB,
			"64k": 65536,
			"1t": 2 ** 40,
		};
		for (const [text, size] of Object.entries(sizes)) expect(parseSize("memory", text)).toBe(size);
		for (const text of ["", "M", "-5M", "0", "12Q", "1e9", "5 5", "0x10", "NaN", "9".repeat(400)]) {
			expect(() => parseSize("memory", text), text).toThrow(UsageError);
		}
	});

	it("are numbers, times and choices", () => {
		expect(parseCount("vcpus", "4", 1, 64)).toBe(4);
		for (const text of ["0", "65", "1.5", "four", "", "-1"]) {
			expect(() => parseCount("vcpus", text, 1, 64), text).toThrow(UsageError);
		}
		expect(parseSeconds("timeout", "0.5")).toBe(0.5);
		for (const text of ["0", "-1", "soon", ""]) expect(() => parseSeconds("timeout", text), text).toThrow(UsageError);
		expect(parseChoice("clock", "real", ["real", "deterministic"])).toBe("real");
		expect(() => parseChoice("clock", "fast", ["real"])).toThrow('--clock: "fast" is not possible');
	});
});

describe("arguments", () => {
	it("are written so that citty cannot take a value for an option", () => {
		expect(checkArguments(["k", "--append", "--x -y", "--memory=5", "--update"], DEFINITION)).toEqual([
			"--append=--x -y",
			"--memory=5",
			"--update",
			"--",
			"k",
		]);
		expect(checkArguments(["--append=a=b", "--", "--memory"], DEFINITION)).toEqual(["--append=a=b", "--", "--memory"]);
		expect(checkArguments([], DEFINITION)).toEqual([]);
	});

	it("are refused with what was probably meant", () => {
		const refused: readonly (readonly [args: string[], message: string, remedy: string])[] = [
			[["--memry", "5"], "unknown option --memry", "Did you mean --memory?"],
			[["--mem=5"], "unknown option --mem", "Did you mean --memory?"],
			[["-m", "5"], "unknown option -m", "paravirt --help lists the options."],
			[["--zzzzzz"], "unknown option --zzzzzz", "paravirt --help lists the options."],
			[["--kernel", "x"], "unknown option --kernel", "paravirt --help lists the options."],
			[["--memory"], "--memory needs a value", "Write --memory SIZE."],
			[["--update=yes"], "--update takes no value", "Write --update alone."],
			[["a", "b"], '"b" is one argument too many', "Options that hold spaces need quotes"],
		];
		for (const [args, message, remedy] of refused) {
			let error: unknown;
			try {
				checkArguments(args, DEFINITION);
			} catch (thrown) {
				error = thrown;
			}
			expect(error).toBeInstanceOf(UsageError);
			expect((error as UsageError).message).toBe(message);
			expect((error as UsageError).remedy).toContain(remedy);
		}
	});

	it("have a nearest name only where it is near", () => {
		expect(nearestName("vcpu", ["vcpus", "clock"])).toBe("vcpus");
		expect(nearestName("colck", ["vcpus", "clock"])).toBe("clock");
		expect(nearestName("network", ["vcpus", "clock"])).toBeUndefined();
	});
});

describe("options that are given several times", () => {
	it("keep all their values, in order, and none of the positional arguments", () => {
		const definition: ArgsDef = { ...DEFINITION, disk: { type: "string" } };
		const words = ["--disk", "a,raw,xvda", "--memory=1G", "--disk=b,,xvdb,r", "--update", "--", "--disk=c"];
		const given = new Arguments(checkArguments(words, definition));
		expect(given.all("disk")).toEqual(["a,raw,xvda", "b,,xvdb,r"]);
		expect(given.text("disk")).toBe("b,,xvdb,r");
		expect(given.positionals).toEqual(["--disk=c"]);
		expect([given.has("disk"), given.has("memory"), given.has("update"), given.has("append")]).toEqual([
			true,
			true,
			true,
			false,
		]);
		expect(given.text("append")).toBeUndefined();
		expect(new Arguments(checkArguments([], definition)).all("disk")).toEqual([]);
	});
});
