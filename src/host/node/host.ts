/** The library's Host on Node.js. */
import { type HostOptions, Host as PortableHost } from "../host.ts";
import { nodePlatform } from "./platform.ts";

/** A machine that runs guests. See the README for an example. */
export class Host extends PortableHost {
	constructor(options: HostOptions) {
		super(options, nodePlatform);
	}
}
