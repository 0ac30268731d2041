/*
 * Throughput of a disk, or of a file: without the guest's page cache (O_DIRECT) but where an item says so, each item for some seconds, one or several
 * processes at once. Usage: disk DEVICE|FILE SECONDS [TEXT [RAMP]]: the items whose name contains the text, each after it has run for RAMP seconds that do not
 * count. Prints "@ ITEM" before and "= ITEM|VALUE|UNIT" after each.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

struct item {
	const char *name;
	int writes;
	int random;
	size_t block;
	int processes;
	int cached;
};

static const struct item items[] = {
	{ "read, 1 MiB in a row", 0, 0, 1 << 20, 1 },
	{ "read, 1 MiB in a row, through the page cache", 0, 0, 1 << 20, 1, 1 },
	{ "read, 64 KiB in a row", 0, 0, 1 << 16, 1 },
	{ "read, 4 KiB anywhere", 0, 1, 1 << 12, 1 },
	{ "read, 4 KiB anywhere, 8 at once", 0, 1, 1 << 12, 8 },
	{ "write, 1 MiB in a row", 1, 0, 1 << 20, 1 },
	{ "write, 64 KiB in a row", 1, 0, 1 << 16, 1 },
	{ "write, 4 KiB anywhere", 1, 1, 1 << 12, 1 },
	{ "write, 4 KiB anywhere, 8 at once", 1, 1, 1 << 12, 8 },
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Counts operations until `end`. */
static uint64_t work(int device, const struct item *item, uint64_t blocks, int process, double end)
{
	void *buffer = mmap(NULL, item->block, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t count = 0, state = 88172645463325252ull + process * 977;
	memset(buffer, process + 1, item->block);
	while (now() < end) {
		uint64_t block;
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		block = item->random ? state % blocks : count % blocks;
		/* What was read before is to be read from the disk again. */
		if (item->cached && block == 0)
			posix_fadvise(device, 0, 0, POSIX_FADV_DONTNEED);
		ssize_t done = item->writes ? pwrite(device, buffer, item->block, block * item->block)
					    : pread(device, buffer, item->block, block * item->block);
		if (done != (ssize_t)item->block) {
			perror(item->name);
			exit(1);
		}
		count++;
	}
	return count;
}

/* Runs an item's processes. Returns the operations a second, or -1. */
static double run(int device, const struct item *item, uint64_t blocks, double seconds)
{
	static uint64_t *counts;
	uint64_t total = 0;
	if (counts == NULL)
		counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double start = now(), end = start + seconds;
	for (int process = 0; process < item->processes; process++) {
		if (fork() == 0) {
			counts[process] = work(device, item, blocks, process, end);
			_exit(0);
		}
	}
	for (int process = 0; process < item->processes; process++) {
		int status;
		wait(&status);
		if (status != 0)
			return -1;
	}
	for (int process = 0; process < item->processes; process++)
		total += counts[process];
	return total / (now() - start);
}

int main(int argc, char **argv)
{
	uint64_t size;
	struct stat status;
	int device, cached;
	if (argc < 3 || argc > 5 || (device = open(argv[1], O_RDWR | O_DIRECT)) < 0 || (cached = open(argv[1], O_RDWR)) < 0 ||
	    fstat(device, &status) < 0) {
		perror(argc > 1 ? argv[1] : "disk");
		return 1;
	}
	size = status.st_size;
	if (S_ISBLK(status.st_mode) && ioctl(device, BLKGETSIZE64, &size) < 0) {
		perror(argv[1]);
		return 1;
	}
	double ramp = argc > 4 ? atof(argv[4]) : 0;
	for (size_t index = 0; index < sizeof items / sizeof *items; index++) {
		const struct item *item = &items[index];
		int file = item->cached ? cached : device;
		if (argc > 3 && strstr(item->name, argv[3]) == NULL)
			continue;
		if (ramp > 0 && run(file, item, size / item->block, ramp) < 0)
			return 1;
		printf("@ %s\n", item->name);
		fflush(stdout);
		double rate = run(file, item, size / item->block, atof(argv[2]));
		if (rate < 0)
			return 1;
		if (item->random)
			printf("= %s|%.0f|operations/s\n", item->name, rate);
		else
			printf("= %s|%.1f|MiB/s\n", item->name, rate * (item->block / 1048576.0));
		fflush(stdout);
	}
	return 0;
}
