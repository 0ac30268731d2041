/** The whole instruction table: importing a family's file registers it. */
import "./integer.ts";
import "./shift.ts";
import "./bits.ts";
import "./control.ts";
import "./string.ts";
import "./system.ts";
import "./x87.ts";
import "./sse-move.ts";
import "./sse-integer.ts";
import "./sse-shuffle.ts";
import "./sse-float.ts";
import "./sse-compare.ts";
import "./sse-convert.ts";
import "./sse4.ts";

export { forms } from "./table.ts";
