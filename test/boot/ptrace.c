/*
 * What a debugger needs of the processor: single steps up to an INT3, an execution breakpoint (DR0) and a watchpoint (DR1) on a traced child.
 * Prints the same on hardware.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int watched;

__attribute__((noinline)) static void target(void)
{
	__asm__ volatile("nop");
}

static void child(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	__asm__ volatile("mov $10, %%ecx\n1: dec %%ecx\n jnz 1b\n int3" ::: "ecx");
	target();
	watched = 5;
	target();
	_exit(7);
}

int main(void)
{
	struct user_regs_struct registers;
	int status, steps = 0, failed = 0;
	pid_t pid = fork();

	if (pid == 0) child();
	waitpid(pid, &status, 0);
	do {
		failed |= ptrace(PTRACE_SINGLESTEP, pid, 0, 0) != 0;
		waitpid(pid, &status, 0);
		failed |= ptrace(PTRACE_GETREGS, pid, 0, &registers) != 0;
	} while ((ptrace(PTRACE_PEEKTEXT, pid, registers.rip - 1, 0) & 0xff) != 0xcc && ++steps < 100000);
	printf("steps: %s\n", steps > 20 && steps < 100000 ? "ok" : "wrong");

	/* DR0: execution; DR1: writes of four bytes. */
	failed |= ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[0]), target) != 0;
	failed |= ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[1]), &watched) != 0;
	failed |= ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[7]), 1 << 0 | 1 << 2 | 1 << 20 | 3 << 22) != 0;
	for (;;) {
		ptrace(PTRACE_CONT, pid, 0, 0);
		waitpid(pid, &status, 0);
		if (WIFEXITED(status)) break;
		ptrace(PTRACE_GETREGS, pid, 0, &registers);
		long dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), 0);
		printf("signal %d, dr6 %lx, %s\n", WSTOPSIG(status), dr6 & 15,
		       registers.rip == (unsigned long)target ? "at the function" : "elsewhere");
		ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[6]), 0);
	}
	printf("exit %d, %s\n", WEXITSTATUS(status), failed ? "failures" : "no failure");
	return 0;
}
