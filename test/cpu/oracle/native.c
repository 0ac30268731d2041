/*
 * Runs test cases on the host's own processor: the oracle that the emulated one is compared with.
 *
 * No stub enters or leaves a case. Each one ends in an exception (the INT3 behind its last instruction, a single-step trap, or the
 * fault that it provokes); the signal handler reads the whole state out of the signal's context, puts the next case's state there and
 * returns into it. So a case costs one signal, and every register is the case's own, RSP included. A case that does not end is found by
 * the processor time that it takes, recorded as such, and left.
 *
 * Usage: native CASES RESULTS. Both formats are described in records.ts; offsets here must agree with it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/prctl.h>

#define PAGE 4096
#define DATA_PAGES 2
#define CODE_PAGES 2
#define CODE_BYTES 240
#define WINDOW_BYTES 128
#define USER_DATA 0x2b
#define USER_CODE_64 0x33
#define USER_CODE_32 0x23
#define TRAP_FLAG 0x100
#define HWCAP2_FSGSBASE 2
/* In place of a vector, for a case that does not end (records.ts); what it has changed until then is recorded as of any other. */
#define NEVER_ENDS 0xff
/* Of this process's processor time, which is what a case takes: a busy host makes none look endless. */
#define PERIOD_MICROSECONDS 100000

struct header {
	uint32_t magic, count;
	uint64_t data, readonly, code, fs_base, gs_base;
	uint8_t pad[16];
	uint8_t background[(DATA_PAGES + 1) * PAGE];
};

struct test_case {
	uint8_t code_length, mode, step, pad0;
	uint32_t mxcsr;
	uint64_t rip, rflags;
	uint16_t control, status;
	uint8_t tags, pad1[3];
	uint64_t pad2[2];
	uint8_t code[CODE_BYTES];
	uint64_t gpr[16];
	uint8_t xmm[256];
	uint8_t st[128];
	uint32_t window, pad3[3];
	uint8_t window_bytes[WINDOW_BYTES];
};

struct result {
	uint32_t vector, error;
	uint64_t cr2, rip, rflags;
	uint32_t mxcsr;
	uint16_t control, status;
	uint8_t tags, pad0[7];
	uint16_t selectors[6];
	uint16_t pad1[2];
	uint64_t fs_base, gs_base;
	uint32_t changes, pad2[11];
	uint64_t gpr[16];
	uint8_t xmm[256];
	uint8_t st[128];
};
/* Then `changes` times: offset of an eight-byte word from `data` (u64), its value (u64). */

_Static_assert(sizeof(struct header) == 64 + (DATA_PAGES + 1) * PAGE, "header");
_Static_assert(sizeof(struct test_case) == 944, "case");
_Static_assert(sizeof(struct result) == 640, "result");

#define MAX_RESULT (sizeof(struct result) + DATA_PAGES * PAGE * 2)
#define OUT_BYTES (1 << 20)

static const struct header *header;
static const struct test_case *cases;
static uint32_t next_case;
/* The case that the last tick found running. */
#define NO_CASE UINT32_MAX
static uint32_t ticked_case = NO_CASE;
static int started, out_fd, has_fsgsbase;
static uint64_t host_fs_base;
static greg_t host_registers[NGREG];
static struct _libc_fpstate host_fp;
static uint8_t out[OUT_BYTES];
static size_t out_used;

/* The order of the sixteen registers in instruction encodings, as indices into gregs. */
static const uint8_t order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

/* The handler may use no thread-local storage, hence no libc wrappers that set errno: FS is the case's. */
static long raw_syscall(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static void flush(void)
{
	size_t done = 0;
	while (done < out_used) {
		long n = raw_syscall(SYS_write, out_fd, (long)(out + done), out_used - done);
		if (n <= 0)
			raw_syscall(SYS_exit_group, 3, 0, 0);
		done += n;
	}
	out_used = 0;
}

static uint16_t read_selector(int segment)
{
	uint16_t value = 0;
	switch (segment) {
	case 0: __asm__ volatile("mov %%es, %0" : "=r"(value)); break;
	case 3: __asm__ volatile("mov %%ds, %0" : "=r"(value)); break;
	case 4: __asm__ volatile("mov %%fs, %0" : "=r"(value)); break;
	case 5: __asm__ volatile("mov %%gs, %0" : "=r"(value)); break;
	}
	return value;
}

static void read_bases(uint64_t *fs, uint64_t *gs)
{
	if (has_fsgsbase) {
		__asm__ volatile("rdfsbase %0" : "=r"(*fs));
		__asm__ volatile("rdgsbase %0" : "=r"(*gs));
	} else {
		raw_syscall(SYS_arch_prctl, ARCH_GET_FS, (long)fs, 0);
		raw_syscall(SYS_arch_prctl, ARCH_GET_GS, (long)gs, 0);
	}
}

static void write_bases(uint64_t fs, uint64_t gs)
{
	if (has_fsgsbase) {
		__asm__ volatile("wrfsbase %0" : : "r"(fs));
		__asm__ volatile("wrgsbase %0" : : "r"(gs));
	} else {
		raw_syscall(SYS_arch_prctl, ARCH_SET_FS, fs, 0);
		raw_syscall(SYS_arch_prctl, ARCH_SET_GS, gs, 0);
	}
}

static void set_segments(void)
{
	if (read_selector(0) != USER_DATA)
		__asm__ volatile("mov %0, %%es" : : "r"(USER_DATA));
	if (read_selector(3) != USER_DATA)
		__asm__ volatile("mov %0, %%ds" : : "r"(USER_DATA));
	if (read_selector(4) != 0)
		__asm__ volatile("mov %0, %%fs" : : "r"(0));
	if (read_selector(5) != 0)
		__asm__ volatile("mov %0, %%gs" : : "r"(0));
	write_bases(header->fs_base, header->gs_base);
}

static void copy(void *to, const void *from, size_t bytes)
{
	__builtin_memcpy(to, from, bytes);
}

/* Writes down what the case that has just ended left, and undoes its changes to memory. */
static void record(const struct test_case *c, ucontext_t *context)
{
	greg_t *g = context->uc_mcontext.gregs;
	struct _libc_fpstate *fp = context->uc_mcontext.fpregs;
	if (out_used + MAX_RESULT > OUT_BYTES)
		flush();
	struct result *r = (struct result *)(out + out_used);
	__builtin_memset(r, 0, sizeof *r);
	r->vector = g[REG_TRAPNO];
	r->error = g[REG_ERR];
	r->cr2 = g[REG_CR2];
	r->rip = g[REG_RIP];
	r->rflags = g[REG_EFL];
	r->mxcsr = fp->mxcsr;
	r->control = fp->cwd;
	r->status = fp->swd;
	r->tags = fp->ftw;
	r->selectors[0] = read_selector(0);
	r->selectors[1] = g[REG_CSGSFS] & 0xffff;
	r->selectors[2] = (uint64_t)g[REG_CSGSFS] >> 48;
	r->selectors[3] = read_selector(3);
	r->selectors[4] = read_selector(4);
	r->selectors[5] = read_selector(5);
	read_bases(&r->fs_base, &r->gs_base);
	for (int i = 0; i < 16; i++)
		r->gpr[i] = g[order[i]];
	copy(r->xmm, fp->_xmm, 256);
	copy(r->st, fp->_st, 128);

	uint64_t *data = (uint64_t *)header->data;
	const uint64_t *background = (const uint64_t *)header->background;
	uint64_t *change = (uint64_t *)(r + 1);
	for (size_t block = 0; block < DATA_PAGES * PAGE / 64; block++) {
		uint64_t difference = 0;
		for (size_t i = block * 8; i < block * 8 + 8; i++)
			difference |= data[i] ^ background[i];
		/* Within the window, equal to the background can be a change. */
		if (difference == 0 && (block + 1) * 64 <= c->window)
			continue;
		if (difference == 0 && block * 64 >= c->window + WINDOW_BYTES)
			continue;
		for (size_t i = block * 8; i < block * 8 + 8; i++) {
			uint64_t before = background[i];
			if (i - c->window / 8 < WINDOW_BYTES / 8)
				copy(&before, c->window_bytes + (i - c->window / 8) * 8, 8);
			if (data[i] != before) {
				*change++ = i * 8;
				*change++ = data[i];
			}
			data[i] = background[i];
		}
	}
	r->changes = (change - (uint64_t *)(r + 1)) / 2;
	out_used = (uint8_t *)change - out;
	(void)c;
	__builtin_memset((void *)header->code, 0xcc, CODE_PAGES * PAGE);
}

static void load(const struct test_case *c, ucontext_t *context)
{
	greg_t *g = context->uc_mcontext.gregs;
	struct _libc_fpstate *fp = context->uc_mcontext.fpregs;
	copy((void *)c->rip, c->code, c->code_length);
	copy((void *)(header->data + c->window), c->window_bytes, WINDOW_BYTES);
	g[REG_RIP] = c->rip;
	g[REG_EFL] = c->rflags | (c->step ? TRAP_FLAG : 0);
	g[REG_CSGSFS] = (uint64_t)USER_DATA << 48 | (c->mode == 0 ? USER_CODE_64 : USER_CODE_32);
	for (int i = 0; i < 16; i++)
		g[order[i]] = c->gpr[i];
	fp->mxcsr = c->mxcsr;
	fp->cwd = c->control;
	fp->swd = c->status;
	fp->ftw = c->tags;
	copy(fp->_xmm, c->xmm, 256);
	copy(fp->_st, c->st, 128);
	/* XSTATE_BV behind the legacy area: x87 and SSE are not in their initial state. */
	*(uint64_t *)((uint8_t *)fp + 512) |= 3;
	set_segments();
}

__attribute__((used)) static void handle(int signal, siginfo_t *information, void *pointer)
{
	ucontext_t *context = pointer;
	greg_t *g = context->uc_mcontext.gregs;
	(void)information;
	if (signal == SIGPROF) {
		/* One that the tick before has found here, too, has had a whole period to itself. The host's processor goes on where it was. */
		if (!started || next_case >= header->count || ticked_case != next_case) {
			ticked_case = started ? next_case : NO_CASE;
			return;
		}
		g[REG_TRAPNO] = NEVER_ENDS;
		g[REG_ERR] = 0;
		g[REG_CR2] = 0;
	}
	if (!started) {
		started = 1;
		copy(host_registers, g, sizeof host_registers);
		copy(&host_fp, context->uc_mcontext.fpregs, sizeof host_fp - sizeof host_fp.__glibc_reserved1);
	} else {
		record(&cases[next_case++], context);
	}
	if (next_case < header->count) {
		load(&cases[next_case], context);
		return;
	}
	flush();
	copy(g, host_registers, sizeof host_registers);
	copy(context->uc_mcontext.fpregs, &host_fp, sizeof host_fp - sizeof host_fp.__glibc_reserved1);
	write_bases(host_fs_base, 0);
}

/*
 * A case may leave AC set, which makes the handler's own unaligned accesses fault, and NT or ID, which the return from a signal does not
 * set from the context: all three are cleared before compiled code runs.
 */
__asm__(".text\nenter:\n\tpushfq\n\tandl $~0x244000, (%rsp)\n\tpopfq\n\tjmp handle\n");
extern void enter(int, siginfo_t *, void *);

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void map(uint64_t address, size_t bytes, int protection, int fill, const void *content)
{
	void *page = mmap((void *)address, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (page != (void *)address)
		fail("mmap");
	if (content)
		memcpy(page, content, bytes);
	else
		memset(page, fill, bytes);
	if (mprotect(page, bytes, protection))
		fail("mprotect");
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return fputs("usage: native CASES RESULTS\n", stderr), 2;
	int in_fd = open(argv[1], O_RDONLY);
	struct stat status;
	if (in_fd < 0 || fstat(in_fd, &status))
		fail(argv[1]);
	header = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, in_fd, 0);
	out_fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (header == MAP_FAILED || out_fd < 0)
		fail(argv[2]);
	cases = (const struct test_case *)(header + 1);
	if (header->magic != 0x6c63726f || sizeof *header + header->count * sizeof *cases != (size_t)status.st_size)
		return fputs("native: malformed case file\n", stderr), 2;
	map(header->data, DATA_PAGES * PAGE, PROT_READ | PROT_WRITE, 0, header->background);
	map(header->readonly, PAGE, PROT_READ, 0, header->background + DATA_PAGES * PAGE);
	map(header->code, CODE_PAGES * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0xcc, NULL);

	has_fsgsbase = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
	raw_syscall(SYS_arch_prctl, ARCH_GET_FS, (long)&host_fs_base, 0);
	stack_t stack = { .ss_size = 256 * 1024 };
	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		fail("sigaltstack");
	struct sigaction action = { .sa_sigaction = enter, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigfillset(&action.sa_mask);
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP, SIGPROF };
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		if (sigaction(signals[i], &action, NULL))
			fail("sigaction");
	struct itimerval period = { { 0, PERIOD_MICROSECONDS }, { 0, PERIOD_MICROSECONDS } };
	if (setitimer(ITIMER_PROF, &period, NULL))
		fail("setitimer");
	if (header->count > 0)
		__asm__ volatile("int3" ::: "memory");
	return 0;
}
