/**
 * Debian's stock kernel with shared folders and a further console, and Debian's xenstore-utils on the host beside it: one boot. What the
 * guest tries to reach outside its folder it does not reach.
 */
import {
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { READY_QUERY } from "../../src/guests/session.ts";
import { type DomainEnd, Host } from "../../src/index.ts";
import { canAssemble } from "../host/echo-guest.ts";
import { complaints, debianImages, hypervisorComplaints } from "./guest.ts";

const MIB = 2 ** 20;

/** Each prints one line, "NAME RESULT". */
const COMMANDS = [
	"cd /mnt/data",
	"echo read $(cat file)",
	"echo hello >new && mv new sub/moved && echo moved $(cat sub/moved)",
	"for n in 1 2 3 4; do (for m in $(seq 25); do echo $n-$m >sub/many-$n-$m; done) & done; wait; echo many $(ls sub | grep -c many) $(cat sub/many-* | sort -u | wc -l)",
	"dd if=/dev/zero of=large bs=1M count=8 2>/dev/null; dd if=/dev/zero bs=1M seek=8 count=0 of=large 2>/dev/null; echo tail | dd of=large bs=1 seek=5000000 conv=notrunc 2>/dev/null; echo large $(md5sum <large | cut -c1-32)",
	"mkdir full; cd full; for n in $(seq 700); do : >entry-$n; done; rm entry-5*; cd ..; echo full $(ls full | wc -l) $(find full -type f | wc -l)",
	"echo one >over; echo two >from; mv from over; mkdir tree; mkdir tree/in; mv tree wood; echo renamed $(cat over) $(ls -d from tree wood/in 2>&1 | tr '\\n' ' ')",
	"rmdir wood/in wood; rmdir full 2>/dev/null; echo removed $? $(ls | grep -c wood)",
	"ln -s file inside; echo inside $(cat inside) $(stat -c '%F %s' inside)",
	"echo stat $(stat -c '%h %s %f %i' file)",
	"echo kept >unlinked; exec 4<unlinked; rm unlinked; echo open $(cat <&4) $(ls | grep -c unlinked); exec 4<&-",
	"ln -s ../outside/secret own; echo link $(readlink own) $(cat own 2>&1)",
	"echo planted $(cat planted/secret 2>&1) $(ls planted/ 2>&1)",
	"echo x 2>/dev/null >planted/made; echo above $(ls ../.. | grep -c outside) $(cat ../outside/secret 2>&1)",
	"ln sub/moved hard; rm sub/moved; echo hard $(cat hard) $(stat -c %h hard)",
	"mkfifo fifo 2>/dev/null; echo fifo $? $(ls | grep -c fifo); chmod 4755 hard 2>/dev/null; echo suid $?",
	"chmod 640 hard; touch -d '2001-02-03 04:05:06' hard; echo attributes $(stat -c '%a %s' hard) $(date -u -r hard +%Y)",
	"ln -s /mnt/data/../../../etc/passwd far; ln planted hardlink 2>/dev/null; mv planted/secret stolen 2>/dev/null; ln planted/secret linked 2>/dev/null; rm -rf planted/ 2>/dev/null; mkdir -p planted/dir 2>/dev/null; chmod 777 planted/secret 2>/dev/null; echo theft $(ls | grep -c 'stolen\\|linked$')",
	"mkdir swap; echo mine >swap/secret; mv swap aside; ln -s ../outside swap; echo x 2>/dev/null >swap/secret; echo swapped $(cat aside/secret swap/secret 2>/dev/null)",
	"cd /mnt/fixed; echo fixed $(cat file); echo x 2>/dev/null >file; rm file 2>/dev/null; echo x 2>/dev/null >new; echo kept $(ls)",
	"cd /; umount /mnt/data && mount -t 9p -o trans=xen,cache=loose,msize=524288 data /mnt/data && echo again $(cat /mnt/data/hard)",
	// Open all the time: what comes for a terminal that nobody has open any more, Linux drops.
	"exec 3<>/dev/hvc1; echo from the guest >&3; read line <&3; exec 3>&-; echo console $line",
	"echo all done",
	"while :; do sleep 1; done",
];

describe.runIf(canAssemble)("Debian's kernel with shared folders", () => {
	let console = "";
	let second = "";
	let end: DomainEnd;
	let log = "";
	let left = 0;
	let handles: readonly [number, number];
	const base = mkdtempSync(join(tmpdir(), "paravirt-shares-"));
	const shared = join(base, "shared");

	beforeAll(async () => {
		mkdirSync(join(shared, "sub"), { recursive: true });
		mkdirSync(join(base, "outside"));
		mkdirSync(join(base, "fixed"));
		writeFileSync(join(base, "outside/secret"), "the secret", { mode: 0o600 });
		writeFileSync(join(shared, "file"), "contents");
		writeFileSync(join(base, "fixed/file"), "fixed");
		symlinkSync("../outside", join(shared, "planted"));
		const { kernel, ramdisk } = await debianImages();
		const before = readdirSync("/proc/self/fd").length;
		const host = new Host({ memory: 300 * MIB, clock: "deterministic" });
		const commandLine = "console=hvc0 paravirt.input=pipe paravirt.share=data paravirt.share=fixed";
		const shares = [`tag=data,path=${shared}`, { tag: "fixed", path: join(base, "fixed"), readOnly: true }];
		let asked = false;
		let told = false;
		const domain = await host.createDomain(
			{ name: "d1", kernel, ramdisk, commandLine, memory: 256 * MIB, shares, furtherConsoles: 1 },
			(created) => {
				const further = created.consoles()[0];
				further?.onOutput((data) => {
					if (second === "") further.write("from the host\n");
					second += new TextDecoder().decode(data);
				});
				created.console.onOutput((data) => {
					console += new TextDecoder().decode(data);
					if (!asked && console.includes(READY_QUERY)) {
						asked = true;
						created.console.write(`${COMMANDS.join("\n")}\n`);
					}
					if (told || !console.includes("all done")) return;
					told = true;
					created.shutdown().catch(() => {});
				});
			},
		);
		const timer = setTimeout(() => domain.destroy(), 400_000);
		end = await Promise.race([domain.ended, host.failed]);
		clearTimeout(timer);
		log = host.log;
		await domain.destroy();
		left = host.store.list("/local/domain/0/backend")?.length ?? 0;
		handles = [before, readdirSync("/proc/self/fd").length];
		host.stop();
	}, 500_000);

	const answer = (name: string): string | undefined =>
		new RegExp(`^${name} (.*)$`, "m").exec(console.replaceAll("\r\n", "\n").replace(READY_QUERY, ""))?.[1];

	it("reads and writes, also by several programs at once", () => {
		expect([answer("read"), answer("moved"), answer("many"), answer("hard"), answer("again")]).toEqual([
			"contents",
			"hello",
			"100 100",
			"hello 1",
			"hello",
		]);
		expect(readFileSync(join(shared, "sub/many-3-7"), "utf8")).toBe("3-7\n");
		const large = readFileSync(join(shared, "large"));
		expect([large.length, large.subarray(5_000_000, 5_000_005).toString()]).toEqual([8 * MIB, "tail\n"]);
		expect(answer("attributes")).toBe("640 6 2001");
		expect([answer("inside"), answer("open")]).toEqual(["contents symbolic link 4", "kept 0"]);
		expect(readlinkSync(join(shared, "inside"))).toBe("file");
		const { nlink, size, mode } = statSync(join(shared, "file"));
		expect(answer("stat")).toMatch(new RegExp(`^${nlink} ${size} ${mode.toString(16)} \\d+$`));
	});

	it("makes, renames and removes many entries", () => {
		// 5, 50 to 59 and 500 to 599 are gone.
		expect([answer("full"), readdirSync(join(shared, "full")).length]).toEqual(["589 589", 589]);
		expect(answer("renamed")).toMatch(/^two .*from.* .*tree.* wood\/in$|^two .*wood\/in/);
		expect(answer("removed")).toBe("1 0");
		expect(readFileSync(join(shared, "over"), "utf8")).toBe("two\n");
		expect(["from", "tree", "wood", "unlinked"].filter((name) => existsSync(join(shared, name)))).toEqual([]);
	});

	it("reaches nothing outside", () => {
		expect(console).not.toContain("the secret");
		expect(answer("link")).toMatch(/^\.\.\/outside\/secret cat: .*No such file/);
		expect(answer("planted")).toContain("No such file");
		expect(answer("above")).toMatch(/^0 /);
		expect(readFileSync(join(base, "outside/secret"), "utf8")).toBe("the secret");
		expect(readdirSync(join(base, "outside"))).toEqual(["secret"]);
		expect(statSync(join(base, "outside/secret")).mode & 0o777).toBe(0o600);
		expect([answer("theft"), answer("swapped")]).toEqual(["0", "mine"]);
		expect([answer("fifo"), answer("suid")]).toEqual(["1 0", "1"]);
	});

	it("changes nothing in a folder that is read-only", () => {
		expect([answer("fixed"), answer("kept")]).toEqual(["fixed", "file"]);
		expect(readFileSync(join(base, "fixed/file"), "utf8")).toBe("fixed");
	});

	it("has a second console", () => {
		expect(second).toContain("from the guest");
		expect(answer("console")).toBe("from the host");
	});

	it("ends without a trace or a complaint", () => {
		expect(end.reason, console.slice(-3000)).toBe("poweroff");
		expect(left).toBe(0);
		expect(handles[1]).toBeLessThanOrEqual(handles[0]);
		expect(complaints(console)).toEqual([]);
		expect(hypervisorComplaints(log)).toEqual([]);
		rmSync(base, { recursive: true });
	});
});
