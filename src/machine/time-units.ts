/** Units and limits of system time, which is nanoseconds since the host started. */
export const NANOSECONDS_PER_SECOND = 1_000_000_000;
export const NANOSECONDS_PER_MILLISECOND = 1_000_000;
/** A deadline that never comes. */
export const NEVER = Number.POSITIVE_INFINITY;
