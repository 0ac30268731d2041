/**
 * The basic blocks that make a region: what is reached from its entry by direct branches within one frame. A region has one entry; calls, returns and
 * indirect branches leave it. Control flow that is not reducible leaves it too: such an edge goes through the dispatcher.
 */
import { type Decoded, decode, newDecoded } from "../decode/decoder.ts";
import { PAGE_SIZE } from "../layout.ts";

export interface RegionInstruction {
	readonly decoded: Decoded;
	/** From the start of the page. */
	readonly offset: number;
}

export interface Block {
	readonly start: number;
	readonly instructions: RegionInstruction[];
	/** Offset behind the last instruction. */
	end: number;
	/** Blocks that its last instruction's branch and its fall-through lead to; undefined where they leave the region. */
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
}

export interface Region {
	readonly blocks: Block[];
	readonly entry: Block;
	readonly instructions: number;
}

const MOST_BLOCKS = 48;
const MOST_INSTRUCTIONS = 400;
/** Longest block: less than the margin that the interpreter leaves (module.ts). */
const LONGEST_BLOCK = 60;

/** How an instruction ends a block. */
type Ending = "none" | "leaves" | "jump" | "branch";

function endingOf(decoded: Decoded): Ending {
	const form = decoded.form!;
	const relative = form.operands.some((operand) => operand.kind === "relative");
	if (relative) return form.name === "jmp" ? "jump" : form.name === "call" ? "leaves" : "branch";
	return form.ends === true ? "leaves" : "none";
}

function branchTarget(instruction: RegionInstruction): number {
	const { decoded, offset } = instruction;
	return offset + decoded.length + (decoded.immediateHigh | 0) * 2 ** 32 + (decoded.immediateLow >>> 0);
}

const inPage = (offset: number): boolean => offset >= 0 && offset < PAGE_SIZE;

/**
 * Finds the region of the instruction at `entry`.
 * @param bytes memory; `frame` is where the frame starts in it.
 * @returns undefined where not even one instruction can be translated.
 */
export function findRegion(bytes: Uint8Array, frame: number, entry: number, longMode: boolean): Region | undefined {
	const instructionAt = new Map<number, RegionInstruction | undefined>();
	const fetch = (offset: number): RegionInstruction | undefined => {
		if (instructionAt.has(offset)) return instructionAt.get(offset);
		const decoded = newDecoded();
		const whole = decode(bytes, frame + offset, frame + PAGE_SIZE, longMode, decoded);
		const instruction = whole && decoded.form !== undefined ? { decoded, offset } : undefined;
		instructionAt.set(offset, instruction);
		return instruction;
	};

	// First the leaders, breadth first, so that what is near the entry is in the region.
	const leaders = new Set([entry]);
	const queue = [entry];
	let total = 0;
	for (let index = 0; index < queue.length; index++) {
		let offset = queue[index]!;
		for (let count = 0; count < LONGEST_BLOCK; count++) {
			if (!inPage(offset) || (count > 0 && leaders.has(offset))) break;
			const instruction = fetch(offset);
			if (instruction === undefined) break;
			total++;
			const ending = endingOf(instruction.decoded);
			const next = offset + instruction.decoded.length;
			if (ending === "leaves") break;
			const successors =
				ending === "jump" ? [branchTarget(instruction)] : ending === "branch" ? [branchTarget(instruction), next] : [];
			for (const successor of successors) {
				if (inPage(successor) && !leaders.has(successor) && leaders.size < MOST_BLOCKS && total < MOST_INSTRUCTIONS) {
					leaders.add(successor);
					queue.push(successor);
				}
			}
			if (ending !== "none") break;
			offset = next;
		}
	}

	// Then the blocks between them.
	const blocks = new Map<number, Block>();
	let instructions = 0;
	for (const start of leaders) {
		const block: Block = {
			start,
			instructions: [],
			end: start,
			taken: undefined,
			next: undefined,
			order: -1,
			predecessors: [],
			dominator: undefined,
			merges: [],
			isMerge: false,
			isLoop: false,
		};
		while (block.instructions.length < LONGEST_BLOCK && inPage(block.end)) {
			if (block.instructions.length > 0 && leaders.has(block.end)) break;
			const instruction = fetch(block.end);
			if (instruction === undefined) break;
			block.instructions.push(instruction);
			block.end += instruction.decoded.length;
			if (endingOf(instruction.decoded) !== "none") break;
		}
		instructions += block.instructions.length;
		blocks.set(start, block);
	}
	const first = blocks.get(entry)!;
	if (first.instructions.length === 0) return undefined;
	for (const block of blocks.values()) {
		const last = block.instructions[block.instructions.length - 1];
		if (last === undefined) continue;
		const ending = endingOf(last.decoded);
		if (ending === "jump" || ending === "branch") block.taken = nonEmpty(blocks.get(branchTarget(last)));
		if (ending === "branch" || ending === "none") block.next = nonEmpty(blocks.get(block.end));
	}
	return { blocks: arrange(first), entry: first, instructions };
}

function nonEmpty(block: Block | undefined): Block | undefined {
	return block !== undefined && block.instructions.length > 0 ? block : undefined;
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
