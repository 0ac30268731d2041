import { describe, expect, it } from "vitest";
import { DiskSpecificationError, parseDisk } from "../../src/toolstack/config/disk.ts";
import { diskName, diskNumber } from "../../src/toolstack/config/vdev.ts";

describe("names of virtual disks", () => {
	it("have libxl's numbers", () => {
		const numbers = {
			xvda: 51712,
			xvda1: 51713,
			xvdp: 51952,
			xvdp15: 51967,
			xvdq: (1 << 28) + 16 * 256,
			xvda16: (1 << 28) + 16,
			xvdaa: (1 << 28) + 26 * 256,
			xvdaz3: (1 << 28) + 51 * 256 + 3,
			hda: 768,
			hdb2: 834,
			hdc: 5632,
			hdd: 5696,
			hde: 51776,
			hdp15: 51967,
			sda: 2048,
			sdp15: 2303,
			d0: 51712,
			d16p1: (1 << 28) + 16 * 256 + 1,
			51712: 51712,
			"0xca00": 51712,
		};
		for (const [name, number] of Object.entries(numbers)) {
			expect([name, diskNumber(name)]).toEqual([name, number]);
			if (/^(?:[xs]|hd[a-d])/.test(name)) expect(diskName(number)).toBe(name);
		}
	});

	it("are refused where they name no disk", () => {
		const wrong = [
			"",
			"xvd",
			"xvdA",
			"hdq",
			"hde16",
			"sdq",
			"sda16",
			"xvda256",
			"vda",
			"/dev/xvda",
			"xvdzzzzz",
			"-1",
			"4294967296",
		];
		for (const name of wrong) expect([name, diskNumber(name)]).toEqual([name, undefined]);
	});
});

describe("disk specifications", () => {
	const brief = (text: string): string => {
		const { target, format, vdev, readOnly, cdrom, discard } = parseDisk(text);
		return [target ?? "-", format, vdev, readOnly ? "r" : "rw", cdrom ? "cdrom" : "disk", discard ?? "-"].join(" ");
	};

	it("mean what xl-disk-configuration(5) says", () => {
		const cases = {
			// The manual's examples.
			"/dev/vg/guest-volume,,hda": "/dev/vg/guest-volume raw hda rw disk -",
			"/dev/vg/guest-volume,raw,hda,rw": "/dev/vg/guest-volume raw hda rw disk -",
			"format=raw, vdev=hda, access=rw, target=/dev/vg/guest-volume": "/dev/vg/guest-volume raw hda rw disk -",
			"raw:/dev/vg/guest-volume,hda,w": "/dev/vg/guest-volume raw hda rw disk -",
			"/root/image.iso,,hdc,cdrom": "/root/image.iso raw hdc r cdrom -",
			"/root/image.iso,,hdc,,cdrom": "/root/image.iso raw hdc r cdrom -",
			"format=raw, vdev=hdc, access=ro, devtype=cdrom, target=/root/image.iso": "/root/image.iso raw hdc r cdrom -",
			"raw:/root/image.iso,hdc:cdrom,ro": "/root/image.iso raw hdc r cdrom -",
			"vdev=hdc, access=r, devtype=cdrom, target=": "- empty hdc r cdrom -",
			",empty,hdc,r,cdrom": "- empty hdc r cdrom -",
			// And the rest of its grammar.
			"a.qcow2,qcow2,xvda,w,discard": "a.qcow2 qcow2 xvda rw disk true",
			"a.img,raw,xvda,r,no-discard,direct-io-safe": "a.img raw xvda r disk false",
			"vdev=xvda,format=qcow2,target=a,b=c.qcow2": "a,b=c.qcow2 qcow2 xvda rw disk -",
			"file:/a.img,xvda,w": "/a.img raw xvda rw disk -",
			"tap2:aio:/a.img,xvda,w": "/a.img raw xvda rw disk -",
			"tapdisk:qcow2:/a.img,xvda,w": "/a.img qcow2 xvda rw disk -",
			"phy:/a.img,ioemu:hde,w": "/a.img raw hde rw disk -",
			",hdh:cdrom,r": "- empty hdh r cdrom -",
			"tap:https://host/a.img?x=y,xvda,r": "https://host/a.img?x=y raw xvda r disk -",
			"phy:/dev/sdz,sda1,w": "/dev/sdz raw sda1 rw disk -",
			"a.img,,xvda,backendtype=qdisk,backend=Domain-0,specification=xen": "a.img raw xvda rw disk -",
			"https://host/a.img,raw,xvda,r": "https://host/a.img raw xvda r disk -",
		};
		for (const [text, meaning] of Object.entries(cases)) expect([text, brief(text)]).toEqual([text, meaning]);
		expect(parseDisk("a,,xvda,untrusted,snapshot")).toMatchObject({ trusted: false, snapshot: true });
	});

	it("that cannot be carried out are refused by what is wrong", () => {
		const wrong = {
			"": /vdev is missing/,
			"a.img": /vdev is missing/,
			"a.img,raw,nonsense": /vdev nonsense/,
			"a.img,vmdk,xvda": /unknown format vmdk/,
			"a.vhd,vhd,xvda": /format vhd is not supported/,
			"qcow:a,xvda,w": /format qcow is not supported/,
			"tap3:/a,xvda,w": /unknown prefix tap3:/,
			"iscsi:/a,xvda,w": /the prefix iscsi: is not supported: there are no hotplug scripts/,
			"a=b,,xvda": /unknown parameter a/,
			"a.img,raw,xvda,maybe": /access maybe/,
			"a.img,raw,xvda,w,more": /"more" is one value too many/,
			"a.img,raw,xvda,w,vdev=xvdb": /vdev is given twice/,
			"a.img,,xvda,script=block-iscsi": /script is not supported/,
			"a.img,,xvda,backend=storage": /backend=storage is not supported/,
			"a.img,,xvda,backendtype=standalone": /backendtype=standalone/,
			"a.img,,xvda,specification=virtio": /specification=virtio/,
			"a.img,,xvda,colo,colo-host=h": /colo is not supported/,
			"a.img,,xvda,devtype=floppy": /devtype=floppy/,
			"a.img,,xvda,colour=red": /unknown parameter colour/,
			",empty,xvda,w": /format empty is for CD drives/,
			",raw,xvda,w": /target is missing/,
		};
		for (const [text, reason] of Object.entries(wrong)) {
			expect(() => parseDisk(text), text).toThrow(DiskSpecificationError);
			expect(() => parseDisk(text), text).toThrow(reason);
		}
	});
});
