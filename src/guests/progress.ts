/** How those who wait hear of what takes a while. */

/** Told how far a step is, as a fraction from 0 to 1. */
export type Fraction = (done: number) => void;

/** Told which step begins; returns what is to be told how far it is. */
export type ProgressListener = (step: string) => Fraction;
