/** public/io/xenbus.h: how far each end of a split device has come. Both write it into their node `state`. */
export const XenbusState = {
	unknown: 0,
	initialising: 1,
	initWait: 2,
	initialised: 3,
	connected: 4,
	closing: 5,
	closed: 6,
	reconfiguring: 7,
	reconfigured: 8,
} as const;
export type XenbusState = (typeof XenbusState)[keyof typeof XenbusState];

/** What a node `state` says; anything that is no state counts as unknown, as in Linux's xenbus_read_driver_state. */
export function parseState(text: string | undefined): XenbusState {
	const value = text === undefined || !/^\d$/.test(text) ? 0 : Number(text);
	return (value <= XenbusState.reconfigured ? value : XenbusState.unknown) as XenbusState;
}
