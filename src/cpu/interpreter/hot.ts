/**
 * The variants that are cases of the interpreter's switch, by name (record.ts): those that a boot of Debian's kernel and the guest benchmark execute
 * most. Made by `bench/hot-variants.ts`; all others are functions, which cost an indirect call.
 */
export const HOT_VARIANTS: readonly string[] = [];
