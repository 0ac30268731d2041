/** Devices are opened on the host before their domain is there, and given to it in order once it is. What one does not get is closed. */

/** Opens all, or none. `close` is called with those that were open when one could not be. @throws what `open` throws */
export async function openAll<Wanted, Open>(
	wanted: readonly Wanted[],
	open: (one: Wanted) => Promise<Open>,
	close: (devices: readonly Open[]) => void | Promise<void>,
): Promise<Open[]> {
	const devices: Open[] = [];
	try {
		for (const one of wanted) devices.push(await open(one));
	} catch (error) {
		await close(devices);
		throw error;
	}
	return devices;
}

/** Gives each to a domain; `attach` closes the one that cannot be given, `close` those behind it. @throws what `attach` throws */
export function attachAll<Open>(
	devices: readonly Open[],
	attach: (device: Open) => void,
	close: (devices: readonly Open[]) => void | Promise<void>,
): void {
	let attached = 0;
	try {
		for (const device of devices) {
			attached++;
			attach(device);
		}
	} catch (error) {
		void close(devices.slice(attached));
		throw error;
	}
}
