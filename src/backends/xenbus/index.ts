/** The split-driver framework: what a toolstack and the back ends of all kinds of devices have in common. */
export * from "./attach.ts";
export * from "./bus.ts";
export * from "./connection.ts";
export * from "./device.ts";
export * from "./driver.ts";
export * from "./grants.ts";
export * from "./state.ts";
