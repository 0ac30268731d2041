import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ConfigError } from "../../../src/toolstack/config/errors.ts";
import { isList, parseConfig, type Value } from "../../../src/toolstack/config/parser.ts";

type Plain = string | readonly Plain[];

function plain(value: Value): Plain {
	return isList(value) ? value.items.map(plain) : value.text;
}

function parse(text: string): Record<string, Plain> {
	return Object.fromEntries([...parseConfig(text, "x.cfg")].map(([key, { value }]) => [key, plain(value)]));
}

function failure(text: string): string {
	try {
		parse(text);
	} catch (error) {
		if (error instanceof ConfigError) return error.message;
		throw error;
	}
	return "none";
}

describe("the syntax of xl.cfg", () => {
	it("has strings, numbers and lists, by lines or semicolons", () => {
		expect(parse(`name="h0"\ntype='pv'; vcpus = 2;memory=0x100\n`)).toEqual({
			name: "h0",
			type: "pv",
			vcpus: "2",
			memory: "0x100",
		});
		expect(parse("vif = [ '' ]\ncpus=[\"2\", '3-8,^5',]\nempty=[]\n")).toEqual({
			vif: [""],
			cpus: ["2", "3-8,^5"],
			empty: [],
		});
		expect(parse('vnuma = [ ["pnode=0","size=512"],\n  [ 3 ] ]')).toEqual({ vnuma: [["pnode=0", "size=512"], ["3"]] });
	});

	it("has comments, blank lines, and lines that go on", () => {
		expect(parse("# all\n\n  a = 1 # one\nb = [ # first\n '#', \n\n # second\n 'x' ]\nc = \\\n 'd'")).toEqual({
			a: "1",
			b: ["#", "x"],
			c: "d",
		});
		expect(parse("a='x'\r\nb='y'\r\n")).toEqual({ a: "x", b: "y" });
		expect(parse("")).toEqual({});
	});

	it("has C's escapes in strings", () => {
		expect(parse(String.raw`a="q\"\\\t\x41\101" ; b='it\'s'`)).toEqual({ a: 'q"\\\tAA', b: "it's" });
	});

	it("takes the last of a key that is set again, and adds with +=", () => {
		expect(parse("a=1\na='x'")).toEqual({ a: "x" });
		expect(parse("d=['a']\nd+=['b']\ne='x'\ne+='y'\nf+=1")).toEqual({ d: ["a", "b"], e: "xy", f: "1" });
	});

	it("tells file and line of what is wrong", () => {
		expect(failure("a=1\nb=pv\n")).toBe('x.cfg:2: "pv" where a value belongs');
		expect(failure("a=1 b=2")).toBe('x.cfg:1: "b" where the end of the line belongs');
		expect(failure("\n\na = 'x\n'")).toBe("x.cfg:3: a string that does not end");
		expect(failure("a = [ 1, 2")).toBe('x.cfg:1: the end of the file where "," or "]" belongs');
		expect(failure("a = [\n\n 1 2 ]")).toBe('x.cfg:3: "2" where "," or "]" belongs');
		expect(failure("a")).toBe('x.cfg:1: the end of the file where "=" behind a belongs');
		expect(failure("5=a")).toBe('x.cfg:1: "5" where an option\'s name belongs');
		expect(failure("a='\\q'")).toBe("x.cfg:1: unknown escape \\q in a string");
		expect(failure("a=12abc")).toBe('x.cfg:1: unexpected "12abc"');
		expect(failure("a=1\na+=[]")).toBe("x.cfg:2: a += adds a list to a string");
		expect(failure(`a=${"[".repeat(100)}`)).toBe("x.cfg:1: lists too deep");
	});

	it("reads back whatever is written in it", () => {
		const quoted = (text: string): string =>
			`"${text.replaceAll(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r")}"`;
		const write = (value: Plain): string =>
			typeof value === "string" ? quoted(value) : `[ ${value.map(write).join(",\n ")} ]`;
		const { value } = fc.letrec<{ value: Plain }>((tie) => ({
			value: fc.oneof(
				{ maxDepth: 4 },
				fc.string({ unit: "grapheme" }),
				fc.array(tie("value") as fc.Arbitrary<Plain>, { maxLength: 4 }),
			),
		}));
		fc.assert(
			fc.property(fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9_]{0,9}$/), value), (settings) => {
				const text = Object.entries(settings)
					.map(([key, each]) => `${key} = ${write(each)}\n`)
					.join("");
				expect(parse(text)).toEqual({ ...settings });
			}),
		);
	});

	it("refuses with a ConfigError, or not at all", () => {
		fc.assert(
			fc.property(fc.array(fc.constantFrom(..."ab01 '\"[],;=+#\\\nx".split("")), { maxLength: 40 }), (pieces) => {
				failure(pieces.join(""));
			}),
			{ numRuns: 2000 },
		);
	});
});
