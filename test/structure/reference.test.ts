import { expect, it } from "vitest";
import { reference } from "./reference.ts";

it("docs/reference.md says what the tables say", async () => {
	await expect(reference()).toMatchFileSnapshot("../../docs/reference.md");
});
