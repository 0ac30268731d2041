/*
 * Throughput and round trips of TCP. Usage: net serve ADDRESS PORT (0: any; prints "port N"), or net measure ADDRESS PORT SECONDS
 * [TEXT], which prints, for the items whose name contains the text, "@ ITEM" before and "= ITEM|VALUE|UNIT" after each item. A connection begins with one byte that names the item.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 17 };
static char buffer[BUFFER];

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address_of(const char *host, const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(port)) };
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		fail(host);
	return address;
}

static void no_delay(int connection)
{
	int one = 1;
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Reads until the other side ends. */
static uint64_t drain(int connection)
{
	uint64_t total = 0;
	ssize_t count;
	while ((count = read(connection, buffer, BUFFER)) > 0)
		total += count;
	return total;
}

static void serve_one(int connection)
{
	char item;
	uint64_t total;
	no_delay(connection);
	if (read(connection, &item, 1) != 1)
		return;
	switch (item) {
	case 's':
		total = drain(connection);
		if (write(connection, &total, sizeof total) < 0)
			perror("write");
		break;
	case 'r':
		while (write(connection, buffer, BUFFER) > 0)
			;
		break;
	case 't':
		while (read(connection, &item, 1) == 1 && write(connection, &item, 1) == 1)
			;
	}
}

static void serve(const char *host, const char *port)
{
	struct sockaddr_in address = address_of(host, port);
	socklen_t length = sizeof address;
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 8) < 0)
		fail("listen");
	getsockname(listener, (struct sockaddr *)&address, &length);
	printf("port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int connection = accept(listener, NULL, NULL);
		if (connection < 0)
			fail("accept");
		if (fork() == 0) {
			serve_one(connection);
			_exit(0);
		}
		close(connection);
	}
}

static int begin(const struct sockaddr_in *address, char item)
{
	int connection = socket(AF_INET, SOCK_STREAM, 0);
	/* The other side may not be there yet. */
	for (int tries = 0; connect(connection, (const struct sockaddr *)address, sizeof *address) < 0; tries++) {
		if (tries == 600)
			fail("connect");
		close(connection);
		usleep(100000);
		connection = socket(AF_INET, SOCK_STREAM, 0);
	}
	no_delay(connection);
	if (write(connection, &item, 1) != 1)
		fail("write");
	return connection;
}

static void announce(const char *name)
{
	printf("@ %s\n", name);
	fflush(stdout);
}

static void report(const char *name, double value, const char *unit)
{
	printf("= %s|%.1f|%s\n", name, value, unit);
	fflush(stdout);
}

static void send_much(const struct sockaddr_in *address, double seconds)
{
	uint64_t total;
	int connection = begin(address, 's');
	announce("send");
	double start = now();
	while (now() < start + seconds)
		if (write(connection, buffer, BUFFER) < 0)
			fail("write");
	shutdown(connection, SHUT_WR);
	if (read(connection, &total, sizeof total) != sizeof total)
		fail("the count");
	report("send", total / 1048576.0 / (now() - start), "MiB/s");
	close(connection);
}

static void receive_much(const struct sockaddr_in *address, double seconds)
{
	uint64_t total = 0;
	ssize_t count;
	int connection = begin(address, 'r');
	announce("receive");
	double start = now();
	while (now() < start + seconds && (count = read(connection, buffer, BUFFER)) > 0)
		total += count;
	report("receive", total / 1048576.0 / (now() - start), "MiB/s");
	close(connection);
}

static void round_trips(const struct sockaddr_in *address, double seconds)
{
	uint64_t total = 0;
	char byte = 0;
	int connection = begin(address, 't');
	announce("round trips");
	double start = now();
	for (; now() < start + seconds; total++)
		if (write(connection, &byte, 1) != 1 || read(connection, &byte, 1) != 1)
			fail("round trip");
	report("round trips", total / (now() - start), "1/s");
	close(connection);
}

static const struct item {
	const char *name;
	void (*measure)(const struct sockaddr_in *address, double seconds);
} items[] = {
	{ "send", send_much },
	{ "receive", receive_much },
	{ "round trips", round_trips },
};

static void measure(const struct sockaddr_in *address, double seconds, const char *text)
{
	/* Waits for the other side, outside of what is measured. */
	close(begin(address, 't'));
	for (size_t index = 0; index < sizeof items / sizeof *items; index++)
		if (strstr(items[index].name, text) != NULL)
			items[index].measure(address, seconds);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "serve") == 0) {
		serve(argv[2], argv[3]);
	} else if ((argc == 5 || argc == 6) && strcmp(argv[1], "measure") == 0) {
		struct sockaddr_in address = address_of(argv[2], argv[3]);
		measure(&address, atof(argv[4]), argc == 6 ? argv[5] : "");
		return 0;
	}
	fprintf(stderr, "usage: net serve ADDRESS PORT | net measure ADDRESS PORT SECONDS [TEXT]\n");
	return 2;
}
