import { describe, expect, it } from "vitest";
import { parseP9, parseShare } from "../../../src/toolstack/config/p9.ts";

describe("xl's p9", () => {
	it("is understood", () => {
		expect(parseP9("tag=home,path=/home/me,security_model=none")).toEqual({
			tag: "home",
			path: "/home/me",
			readOnly: false,
		});
		expect(parseP9(" path=/a=b , tag=x.y-1,backend=0,readonly=1")).toEqual({
			tag: "x.y-1",
			path: "/a=b",
			readOnly: true,
		});
	});

	it("is refused by the name of what cannot be", () => {
		const refused = {
			"path=/a": "tag is missing",
			"tag=a": "path is missing",
			"tag=a,path=": "path is missing",
			"tag=a b,path=/a": '"a b" is no tag',
			"tag=a,path=/a,security_model=mapped": "security_model=mapped",
			"tag=a,path=/a,backend=driver": "backend=driver",
			"tag=a,tag=b,path=/a": "tag is given twice",
			"tag=a,path=/a,readonly=yes": "readonly=yes",
			"tag=a,path=/a,max-files=7": "max-files is not supported",
			"tag=a,path=/a,constructor=1": '"constructor" is unknown',
			"tag=a,path=/a,readonly": "readonly has no value",
			"": '"" is unknown',
		};
		for (const [text, reason] of Object.entries(refused)) expect(() => parseP9(text)).toThrow(reason);
	});
});

describe("--share", () => {
	it("is a folder, with a tag and an access where they are wanted", () => {
		const all = ["/srv/data", "data/", "/srv/data:d", "/srv/data:ro", "/srv/data:d:rw", "/odd:name:d:ro"].map(
			parseShare,
		);
		expect(all.map(({ path, tag, readOnly }) => [path, tag, readOnly])).toEqual([
			["/srv/data", "data", false],
			["data/", "data", false],
			["/srv/data", "d", false],
			["/srv/data", "data", true],
			["/srv/data", "d", false],
			["/odd:name", "d", true],
		]);
		for (const text of ["", ":tag", "/", "/a b", ".", "/x:a b", "..", "/x:.", "/x:.."]) {
			expect(() => parseShare(text)).toThrow();
		}
	});
});
