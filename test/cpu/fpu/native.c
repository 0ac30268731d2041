/*
 * Executes x87 instructions on the host's own processor: the oracle of x87.test.ts. Reads records of 256 bytes from standard
 * input, and writes each back as the instruction left it.
 *
 *   0  u8 1 = prefix 66     1 u8 opcode      2 u8 ModRM (memory operands: [rsi])
 *   4  u16 control word     6 u16 status word with TOP     8 u8 abridged tags     10 u16 AX
 *   12 u32 arithmetic flags
 *   16 ST(0)..ST(7), sixteen bytes each
 *   144 memory operand
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static unsigned char record[256];
static unsigned char image[512] __attribute__((aligned(16)));
static unsigned char after[512] __attribute__((aligned(16)));

struct outcome {
	uint64_t ax;
	uint64_t flags;
};

int main(void)
{
	unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		return 1;
	while (fread(record, sizeof record, 1, stdin) == 1) {
		static const unsigned char before[] = {
			0x48, 0x0f, 0xae, 0x0f,                   /* fxrstor64 [rdi] */
			0x51, 0x9d,                               /* push rcx; popfq */
			0xb8, 0x00, 0x00, 0x5a, 0xa5,             /* mov eax, 0xa55a0000 */
		};
		static const unsigned char behind[] = {
			0x48, 0x0f, 0xae, 0x02,                   /* fxsave64 [rdx] */
			0xdb, 0xe3,                               /* fninit */
			0x49, 0x89, 0x00,                         /* mov [r8], rax */
			0x9c, 0x58,                               /* pushfq; pop rax */
			0x49, 0x89, 0x40, 0x08,                   /* mov [r8 + 8], rax */
			0xc3,
		};
		unsigned char *p = code;
		memcpy(p, before, sizeof before);
		p += sizeof before;
		if (record[0])
			*p++ = 0x66;
		*p++ = record[1];
		*p++ = record[2];
		memcpy(p, behind, sizeof behind);

		asm volatile("fxsave64 %0" : "=m"(image));
		memcpy(image, record + 4, 4);
		memset(image + 4, 0, 20);
		image[4] = record[8];
		memcpy(image + 32, record + 16, 128);

		struct outcome outcome;
		register struct outcome *r8 asm("r8") = &outcome;
		uint64_t flags = 0x202;
		uint32_t arithmetic;
		memcpy(&arithmetic, record + 12, 4);
		flags |= arithmetic;
		asm volatile("sub $128, %%rsp; call *%[code]; add $128, %%rsp"
			     :
			     : [code] "r"(code), "D"(image), "S"(record + 144), "d"(after), "c"(flags), "r"(r8)
			     : "rax", "memory", "cc");

		memcpy(record + 4, after, 4);
		record[8] = after[4];
		memcpy(record + 10, &outcome.ax, 2);
		arithmetic = outcome.flags & 0x8d5;
		memcpy(record + 12, &arithmetic, 4);
		memcpy(record + 16, after + 32, 128);
		if (fwrite(record, sizeof record, 1, stdout) != 1)
			return 1;
	}
	return 0;
}
