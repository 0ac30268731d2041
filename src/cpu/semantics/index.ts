/** The whole instruction table: importing a family's file registers it. */
import "./integer.ts";
import "./shift.ts";
import "./bits.ts";
import "./control.ts";
import "./string.ts";
import "./system.ts";
import "./x87.ts";

export { forms } from "./table.ts";
