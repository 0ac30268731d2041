/*
 * Corners of the processor that programs reach through the kernel's doors: a signal's return to 32-bit code, null segments, single steps, what MXCSR
 * records. One line a subject: its name and "ok", or what was found. The same on Intel's processors; AMD's refuse an address beyond 4 GiB (#GP).
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE_32 0x23
#define CODE_64 0x33
#define DATA 0x2b
#define GENERAL_PROTECTION 13
#define HIGH 0x7f0000000000ull
#define GARBAGE 0x8badf00d00000000ull

static uint64_t seen[NGREG];
static int caught;
static sigjmp_buf back;
static uint8_t *code;
static char *stack_32;

static void report(const char *name, int good)
{
	printf("%s %s", name, good ? "ok\n" : "WRONG:");
	if (!good)
		printf(" signal %d, trap %lu, error %lx, rip %lx, rsp %lx, cs %lx\n", caught, seen[REG_TRAPNO], seen[REG_ERR], seen[REG_RIP],
		       seen[REG_RSP], seen[REG_CSGSFS] & 0xffff);
}

/* Ends an attempt, wherever it has got to. */
static void end(int signal, siginfo_t *information, void *context)
{
	(void)information;
	memcpy(seen, ((ucontext_t *)context)->uc_mcontext.gregs, sizeof seen);
	caught = signal;
	siglongjmp(back, 1);
}

/* Returns from the signal to 32-bit code at an address, and with a stack pointer, that have upper halves. */
static void leave(int signal, siginfo_t *information, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)signal, (void)information;
	g[REG_RIP] = HIGH | (uintptr_t)code;
	g[REG_RSP] = GARBAGE | (uintptr_t)stack_32;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | CODE_32;
}

static void on(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	sigaction(signal, &action, NULL);
}

/* Runs 32-bit code with an upper half in RSP and a selector in DS until a signal ends it. */
static void run_32(const void *bytes, size_t length, unsigned selector)
{
	static struct { uint32_t offset; uint16_t selector; } __attribute__((packed)) target;
	memcpy(code, bytes, length);
	target.offset = (uintptr_t)code;
	target.selector = CODE_32;
	caught = 0;
	if (!sigsetjmp(back, 1))
		__asm__ volatile("mov %0, %%ds\n\tmov %1, %%rsp\n\tljmp *%2" ::"r"(selector), "r"(GARBAGE | (uintptr_t)stack_32), "m"(target) : "memory");
	__asm__ volatile("mov %0, %%ds" ::"r"(0));
}

static void compatibility(void)
{
	memcpy(code, "\xcc", 1);
	on(SIGUSR1, leave);
	caught = 0;
	if (!sigsetjmp(back, 1))
		raise(SIGUSR1);
	report("signal's return", caught == SIGTRAP && seen[REG_RIP] == (uintptr_t)code + 1 && seen[REG_RSP] == (uintptr_t)stack_32);
	/* push %eax; int3 */
	run_32("\x50\xcc", 2, DATA);
	report("far jump", caught == SIGTRAP && seen[REG_RIP] == (uintptr_t)code + 2 && seen[REG_RSP] == (uintptr_t)stack_32 - 4);
	/* mov (%esp), %eax; int3: by SS */
	run_32("\x8b\x04\x24\xcc", 4, 0);
	report("null DS, access by SS", caught == SIGTRAP);
	/* mov stack_32, %eax, by DS, FS and GS */
	uint8_t load[8] = { 0x3e, 0xa1, 0, 0, 0, 0, 0xcc };
	uint32_t address = (uintptr_t)stack_32;
	memcpy(load + 2, &address, 4);
	run_32(load, 7, DATA);
	report("DS", caught == SIGTRAP);
	run_32(load, 7, 3);
	report("null DS", caught == SIGSEGV && seen[REG_TRAPNO] == GENERAL_PROTECTION && seen[REG_RIP] == (uintptr_t)code);
	load[0] = 0x64;
	run_32(load, 7, DATA);
	report("null FS", caught == SIGSEGV && seen[REG_TRAPNO] == GENERAL_PROTECTION);
}

static void null_selectors(void)
{
	int good = 1;
	for (unsigned selector = 0; selector < 4; selector++) {
		unsigned ds, es;
		char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		/* The page is not there yet: a fault, and a return from it. */
		__asm__ volatile("mov %2, %%ds\n\tmov %2, %%es\n\tmovb $1, (%3)\n\tmov %%ds, %0\n\tmov %%es, %1"
				 : "=&r"(ds), "=&r"(es) : "r"(selector), "r"(page) : "memory");
		good &= ds == 0 && es == 0;
	}
	report("null selectors", good);
}

static uintptr_t steps[32];
static int step_count;

static void step(int signal, siginfo_t *information, void *context)
{
	(void)signal, (void)information;
	if (step_count < 32) steps[step_count++] = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

/* Where it traps from `from` on, when TF has been set before it: each character an offset, as a digit. */
static int traps_are(const char *from, const char *offsets)
{
	int good = 1;
	for (int i = 0; offsets[i] != 0; i++) good &= i < step_count && steps[i] == (uintptr_t)from + offsets[i] - '0';
	step_count = 0;
	return good;
}

#define SET "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
#define CLEAR "\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tnop"

static void single_steps(void)
{
	extern const char at_load[], at_repeat[], at_call[];
	char buffer[8], *to = buffer;
	long count = 3, result = 39;
	on(SIGTRAP, step);
	__asm__ volatile(SET "at_load: mov %0, %%ss\n\tnop" CLEAR ::"r"(DATA) : "memory", "cc");
	report("step over a load of SS", traps_are(at_load, "34"));
	__asm__ volatile(SET "at_repeat: rep stosb" CLEAR : "+D"(to), "+c"(count) : "a"(0) : "memory", "cc");
	report("step over REP STOSB", traps_are(at_repeat, "0023"));
	__asm__ volatile(SET "at_call: syscall\n\tnop" CLEAR : "+a"(result)::"rcx", "r11", "memory", "cc");
	report("step over a system call", traps_are(at_call, "34") && result == getpid());
	on(SIGTRAP, end);
}

/* Multiplies and adds many times, so that hot code is among it: what must be recorded each time although PE stays set. */
static void exceptions(void)
{
	volatile double smallest = 0x1p-1022, tiny = 0x1p-1074, third, sink;
	int good = 1;
	third = 1.0;
	third /= 3.0;
	for (int i = 0; i < 20000; i++) {
		unsigned mxcsr = 0x1fa0;
		__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
		sink = smallest * third;
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		good &= mxcsr == 0x1fb0;
		mxcsr = 0x1fa0;
		__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
		sink = 1.0 + tiny;
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		good &= mxcsr == 0x1fa2;
		mxcsr = 0x1fa0;
		__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
		sink = smallest * smallest;
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		good &= mxcsr == 0x1fb0;
		mxcsr = 0x1fa0;
		__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
		sink = 0.0 * third + 2.0;
		__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
		good &= mxcsr == 0x1fa0;
	}
	(void)sink;
	report("underflow and denormal", good);
}

int main(void)
{
	static char alternate[65536];
	stack_t stack = { .ss_sp = alternate, .ss_size = sizeof alternate };
	static const int signals[] = { SIGSEGV, SIGBUS, SIGTRAP, SIGILL };
	sigaltstack(&stack, NULL);
	for (int i = 0; i < 4; i++) on(signals[i], end);
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	stack_32 = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0) + 2048;
	compatibility();
	null_selectors();
	single_steps();
	exceptions();
	return 0;
}
