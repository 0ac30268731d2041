/**
 * The basic blocks that make a region: what is reached from its entry by branches and calls, over all pages; by indirect ones as far as
 * they lead to where they led last, which is asked. A region has one entry.
 *
 * A call is *inlined*: the callee's blocks are copied for this call, so that its RET most likely leads back here, and is only compared with
 * where this call returns to. So the graph stays reducible, and what a region holds is a tree of calls:
 *
 *   caller ... call -> callee ... ret -> (target = return address?) -> caller ... ret -> leaves
 *
 * Pages other than the entry's are named by their distance from it; that the expected frame is mapped there is checked where control first
 * comes to them (emit.ts). Control flow that is not reducible leaves the region: such an edge goes through the dispatcher.
 */
import { type Decoded, decode, decodeCrossing, newDecoded } from "../decode/decoder.ts";
import { PAGE_SIZE } from "../layout.ts";
import type { VendorBehaviour } from "../vendor.ts";

/** A page whose code may go into a region. */
export interface RegionPage {
	/** Linear address of its frame, and of its code index, by which the TLB knows it. */
	readonly frame: number;
	readonly index: number;
}

/** What {@link findRegion} asks about the place that a region is made for. Offsets are from the start of the entry's page: exact integers, also negative. */
export interface CodeSource {
	readonly bytes: Uint8Array;
	readonly longMode: boolean;
	readonly vendor: VendorBehaviour;
	/** The page that many pages from the entry's; undefined where nothing was executed there. */
	pageAt(distance: number): RegionPage | undefined;
	/** Whether branches have led here often enough to be worth its place in the region. */
	worthwhile(offset: number): boolean;
	/** Whether execution has ever come here, by falling through or otherwise. */
	reached(offset: number): boolean;
	/** Where the indirect branch here has led to last; undefined where that is not known. */
	lastTarget(offset: number): number | undefined;
}

export interface RegionInstruction {
	readonly decoded: Decoded;
	readonly offset: number;
	/** The next page, where its last bytes are there. */
	readonly crossesTo: RegionPage | undefined;
	/** How it ends a block, and where it leads to if it is a branch; an indirect one most likely to where it led last. */
	readonly ending: Ending;
	readonly target: number | undefined;
}

/** An inlined call: where it returns to, and within which other one it is. */
interface Call {
	readonly caller: Call | undefined;
	readonly target: number;
	readonly returnTo: number;
	readonly depth: number;
	readonly key: string;
}

/** How an instruction ends a block. */
type Ending = "none" | "leaves" | "jump" | "branch" | "call" | "return";

export interface Block {
	readonly start: number;
	readonly page: RegionPage;
	/** The next page, where the first instruction goes on there. */
	readonly crossesTo: RegionPage | undefined;
	readonly call: Call | undefined;
	readonly instructions: RegionInstruction[];
	/** Offset behind the last instruction. */
	end: number;
	ending: Ending;
	/** Blocks that its last instruction's branch, call or return and its fall-through lead to; undefined where they leave the region. */
	taken: Block | undefined;
	next: Block | undefined;
	/** Reverse postorder number. */
	order: number;
	predecessors: Block[];
	dominator: Block | undefined;
	/** Blocks that this one dominates immediately and that more than one forward edge leads to, last in order first. */
	merges: Block[];
	isMerge: boolean;
	isLoop: boolean;
	/** Instructions on the longest way from its start to where the fuel is looked at again, or out of the region. */
	longest: number;
}

export interface Region {
	readonly blocks: Block[];
	readonly entry: Block;
	readonly instructions: number;
}

const MOST_BLOCKS = 64;
const MOST_INSTRUCTIONS = 320;
/** Longest block: less than the margin that the interpreter leaves (module.ts). */
const LONGEST_BLOCK = 60;
const DEEPEST_CALL = 5;
const FARTHEST = 2 ** 31 - PAGE_SIZE;
/** No way through a region, loops left out, has more instructions. */
export const LONGEST_WAY = MOST_INSTRUCTIONS + LONGEST_BLOCK;

function endingOf({ form }: Decoded, target: number | undefined): Ending {
	const { name, ends } = form!;
	if (name === "ret") return "return";
	if (target === undefined) return ends === true ? "leaves" : "none";
	return name === "jmp" ? "jump" : name === "call" ? "call" : "branch";
}

const pageDistance = (offset: number): number => Math.floor(offset / PAGE_SIZE);

/** Decodes instructions at offsets, each once. */
class Fetcher {
	private readonly instructions = new Map<number, RegionInstruction | undefined>();
	private readonly pages = new Map<number, RegionPage | undefined>();

	constructor(private readonly source: CodeSource) {}

	page(offset: number): RegionPage | undefined {
		// Calls within calls may lead further than an offset in emitted code can tell.
		if (Math.abs(offset) >= FARTHEST) return undefined;
		const distance = pageDistance(offset);
		if (!this.pages.has(distance)) this.pages.set(distance, this.source.pageAt(distance));
		return this.pages.get(distance);
	}

	/** Undefined where none can be decoded. */
	at(offset: number): RegionInstruction | undefined {
		if (this.instructions.has(offset)) return this.instructions.get(offset);
		const instruction = this.decode(offset);
		this.instructions.set(offset, instruction);
		return instruction;
	}

	private decode(offset: number): RegionInstruction | undefined {
		const page = this.page(offset);
		if (page === undefined) return undefined;
		const { bytes, longMode, vendor } = this.source;
		const decoded = newDecoded(vendor);
		const start = page.frame + offset - pageDistance(offset) * PAGE_SIZE;
		const end = page.frame + PAGE_SIZE;
		let crossesTo: RegionPage | undefined;
		if (!decode(bytes, start, end, longMode, decoded)) {
			crossesTo = this.page(offset + PAGE_SIZE);
			if (crossesTo === undefined) return undefined;
			decodeCrossing(bytes, start, end, crossesTo.frame, longMode, decoded);
		}
		if (decoded.form === undefined) return undefined;
		const target = this.target(decoded, offset);
		return { decoded, offset, crossesTo, ending: endingOf(decoded, target), target };
	}

	private target(decoded: Decoded, offset: number): number | undefined {
		const { name, operands } = decoded.form!;
		if (operands.some((operand) => operand.kind === "relative")) {
			return offset + decoded.length + (decoded.immediateHigh | 0) * 2 ** 32 + (decoded.immediateLow >>> 0);
		}
		return name === "jmp" || name === "call" ? this.source.lastTarget(offset) : undefined;
	}
}

/** Where a block begins, before it is known where it ends. */
interface Leader {
	readonly start: number;
	readonly call: Call | undefined;
}

const keyOf = (start: number, call: Call | undefined): string =>
	call === undefined ? `${start}` : `${start}${call.key}`;

/** How the search of a block ended: with a RET, or with a call that is often made and that the region does not take in. */
type Way = "goes on" | "returns" | "lost";

/**
 * Where a region's blocks begin: breadth first, so that what is near the entry is in it. A callee is taken in as a whole, as far as it is worthwhile, or
 * not at all: of one that is left half way, each of the calls on the way back goes through the dispatcher.
 */
class LeaderSearch {
	readonly leaders = new Map<string, Leader>();
	private total = 0;

	constructor(
		private readonly source: CodeSource,
		private readonly fetcher: Fetcher,
		private readonly entry: number,
	) {
		this.search(entry, undefined);
	}

	/** Adds what is reached from `start` within one call. @returns whether all of it is there, and control comes back */
	private search(start: number, call: Call | undefined): boolean {
		const { leaders } = this;
		const queue: number[] = [];
		let complete = true;
		const add = (offset: number): void => {
			const key = keyOf(offset, call);
			if (leaders.has(key)) return;
			if (leaders.size >= MOST_BLOCKS) {
				complete = false;
				return;
			}
			leaders.set(key, { start: offset, call });
			queue.push(offset);
		};
		add(start);
		let returns = false;
		let index = 0;
		for (; index < queue.length && this.total < MOST_INSTRUCTIONS; index++) {
			const way = this.block(queue[index]!, call, add);
			if (way === "returns") returns = true;
			if (way === "lost") complete = false;
			if (call !== undefined && !complete) return false;
		}
		// What the limit has left out.
		for (const offset of queue.slice(index)) leaders.delete(keyOf(offset, call));
		return complete && returns && index === queue.length;
	}

	private block(start: number, call: Call | undefined, add: (offset: number) => void): Way {
		const { entry, fetcher, leaders, source } = this;
		let offset = start;
		for (let count = 0; count < LONGEST_BLOCK; count++) {
			if (count > 0 && leaders.has(keyOf(offset, call))) break;
			const instruction = fetcher.at(offset);
			if (instruction === undefined) break;
			if (count > 0 && instruction.crossesTo !== undefined) {
				// A block of its own: the next page is looked at before it.
				add(offset);
				break;
			}
			this.total++;
			const { ending, target } = instruction;
			const next = offset + instruction.decoded.length;
			if ((ending === "jump" || ending === "branch") && source.worthwhile(target!)) add(target!);
			if (ending === "branch" && source.reached(next)) add(next);
			if (ending === "call") {
				const inner = inlined(source, entry, instruction, call);
				if (inner !== undefined && this.callee(inner)) add(next);
				else if (source.worthwhile(target!)) return "lost";
			}
			if (ending === "return") return "returns";
			if (ending !== "none") break;
			if (pageDistance(next) !== pageDistance(offset)) {
				if (source.reached(next)) add(next);
				break;
			}
			offset = next;
		}
		return "goes on";
	}

	/** @returns whether the callee is in the region now */
	private callee(call: Call): boolean {
		const { leaders, total } = this;
		const { size } = leaders;
		if (this.search(call.target, call)) return true;
		// A map keeps the order in which its entries came.
		for (const key of [...leaders.keys()].slice(size)) leaders.delete(key);
		this.total = total;
		return false;
	}
}

/**
 * Finds the region of the instruction at offset `entry` of its page.
 * @returns undefined where not even one instruction can be translated.
 */
export function findRegion(source: CodeSource, entry: number): Region | undefined {
	const fetcher = new Fetcher(source);
	const { leaders } = new LeaderSearch(source, fetcher, entry);

	const blocks = new Map<string, Block>();
	for (const [key, leader] of leaders) {
		const block = blockAt(fetcher, leaders, leader);
		if (block !== undefined) blocks.set(key, block);
	}
	const first = blocks.get(keyOf(entry, undefined));
	if (first === undefined) return undefined;
	for (const block of blocks.values()) {
		const last = block.instructions[block.instructions.length - 1]!;
		const { call, ending } = block;
		if (ending === "jump" || ending === "branch") block.taken = blocks.get(keyOf(last.target!, call));
		if (ending === "branch" || ending === "none") block.next = blocks.get(keyOf(block.end, call));
		if (ending === "call") {
			const inner = inlined(source, entry, last, call);
			block.taken = inner && blocks.get(keyOf(inner.target, inner));
		}
		if (ending === "return" && call !== undefined) block.taken = blocks.get(keyOf(call.returnTo, call.caller));
	}
	const order = arrange(first);
	measure(order);
	return {
		blocks: order,
		entry: first,
		instructions: order.reduce((sum, { instructions }) => sum + instructions.length, 0),
	};
}

/** The call that an instruction makes, where it is to be inlined: not recursive, not too deep, and often made. */
function inlined(
	source: CodeSource,
	entry: number,
	instruction: RegionInstruction,
	caller: Call | undefined,
): Call | undefined {
	const target = instruction.target!;
	const depth = caller === undefined ? 1 : caller.depth + 1;
	if (depth > DEEPEST_CALL || target === entry || !source.worthwhile(target)) return undefined;
	for (let call = caller; call !== undefined; call = call.caller) if (call.target === target) return undefined;
	const returnTo = instruction.offset + instruction.decoded.length;
	return { caller, target, returnTo, depth, key: `${caller?.key ?? ""}/${returnTo}` };
}

function blockAt(fetcher: Fetcher, leaders: ReadonlyMap<string, Leader>, { start, call }: Leader): Block | undefined {
	const instructions: RegionInstruction[] = [];
	let end = start;
	let ending: Ending = "none";
	while (instructions.length < LONGEST_BLOCK && ending === "none") {
		if (instructions.length > 0) {
			if (leaders.has(keyOf(end, call)) || pageDistance(end) !== pageDistance(start)) break;
		}
		const instruction = fetcher.at(end);
		if (instruction === undefined || (instructions.length > 0 && instruction.crossesTo !== undefined)) break;
		instructions.push(instruction);
		end += instruction.decoded.length;
		ending = instruction.ending;
	}
	const page = fetcher.page(start);
	const [first] = instructions;
	if (page === undefined || first === undefined) return undefined;
	return {
		start,
		page,
		crossesTo: first.crossesTo,
		call,
		instructions,
		end,
		ending,
		taken: undefined,
		next: undefined,
		order: -1,
		predecessors: [],
		dominator: undefined,
		merges: [],
		isMerge: false,
		isLoop: false,
		longest: 0,
	};
}

/**
 * Numbers the blocks in reverse postorder and finds dominators (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm), merges and loops
 * for structured emission (Ramsey: Beyond Relooper). Edges that would make the graph irreducible are cut.
 */
function arrange(entry: Block): Block[] {
	const postorder: Block[] = [];
	const seen = new Set<Block>([entry]);
	const stack: { block: Block; step: number }[] = [{ block: entry, step: 0 }];
	while (stack.length > 0) {
		const top = stack[stack.length - 1]!;
		// The fall-through is visited last, so that it comes first in reverse postorder.
		const successor = top.step === 0 ? top.block.taken : top.step === 1 ? top.block.next : undefined;
		if (top.step > 1) {
			postorder.push(top.block);
			stack.pop();
			continue;
		}
		top.step++;
		if (successor !== undefined && !seen.has(successor)) {
			seen.add(successor);
			stack.push({ block: successor, step: 0 });
		}
	}
	const order = postorder.reverse();
	for (const [index, block] of order.entries()) block.order = index;
	for (const block of order) {
		for (const successor of [block.taken, block.next]) successor?.predecessors.push(block);
	}
	findDominators(order);
	let cut = false;
	for (const block of order) {
		for (const edge of ["taken", "next"] as const) {
			const successor = block[edge];
			if (successor === undefined || successor.order > block.order) continue;
			if (dominates(successor, block)) successor.isLoop = true;
			else {
				block[edge] = undefined;
				cut = true;
			}
		}
	}
	if (cut) {
		for (const block of order) {
			block.order = -1;
			block.predecessors = [];
			block.dominator = undefined;
			block.isLoop = false;
		}
		return arrange(entry);
	}
	for (const block of order) {
		const forward = block.predecessors.filter((predecessor) => predecessor.order < block.order).length;
		block.isMerge = forward > 1;
		if (block.isMerge) block.dominator!.merges.push(block);
	}
	for (const block of order) block.merges.sort((a, b) => b.order - a.order);
	return order;
}

function findDominators(order: readonly Block[]): void {
	const entry = order[0]!;
	entry.dominator = entry;
	for (let changed = true; changed; ) {
		changed = false;
		for (const block of order.slice(1)) {
			let dominator: Block | undefined;
			for (const predecessor of block.predecessors) {
				if (predecessor.dominator === undefined) continue;
				dominator = dominator === undefined ? predecessor : intersect(predecessor, dominator);
			}
			if (block.dominator !== dominator) {
				block.dominator = dominator;
				changed = true;
			}
		}
	}
}

function intersect(left: Block, right: Block): Block {
	let [a, b] = [left, right];
	while (a !== b) {
		while (a.order > b.order) a = a.dominator!;
		while (b.order > a.order) b = b.dominator!;
	}
	return a;
}

function dominates(above: Block, below: Block): boolean {
	let block = below;
	while (block.order > above.order) block = block.dominator!;
	return block === above;
}

/** Fuel is looked at on entry and where a loop starts again: how far it is from each of those at the most. */
function measure(order: readonly Block[]): void {
	for (const block of order.toReversed()) {
		let rest = 0;
		for (const successor of [block.taken, block.next]) {
			if (successor !== undefined && successor.order > block.order && !successor.isLoop) {
				rest = Math.max(rest, successor.longest);
			}
		}
		block.longest = block.instructions.length + rest;
	}
}

/** Whether on every way to `block` the page has been entered before its end. */
export function passesThrough(block: Block, page: RegionPage): boolean {
	for (let above = block; ; above = above.dominator!) {
		if (above.page === page || above.crossesTo === page) return true;
		if (above.order === 0) return false;
	}
}
