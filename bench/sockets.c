/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockets.c: makes socket calls and says how long they took. It reads orders, one a line, on
 * standard input (call, first address, port, addresses apart, how many addresses, which first, how
 * many calls) and answers each with nanoseconds and how many requests the backends served. The
 * backends are here too: their sockets are opened before the process enters the cgroup whose
 * programs are measured, so that only the client's calls meet them. Everything runs on one CPU.
 */
#define _GNU_SOURCE
#include "backends.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64   /* calls between two looks at the clock; they fit a socket's buffer */
#define WALK  7919 /* prime: visits every address, none beside the last */

struct order {
	char call[32];
	unsigned int first, port, apart, addresses, start, calls;
};

static int client = -1, server = -1; /* of calls that stay with one socket */
static int many[BATCH];

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct sockaddr_in target(const struct order *order, unsigned int at)
{
	unsigned int index = (order->start + (uint64_t)at * WALK) % order->addresses;

	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(order->port),
				     .sin_addr.s_addr =
					     htonl(order->first + index * order->apart) };
}

static int same_place(const struct sockaddr_in *left, const struct sockaddr_in *right)
{
	return left->sin_addr.s_addr == right->sin_addr.s_addr && left->sin_port == right->sin_port;
}

static int connect_to(int socket, const struct sockaddr_in *to)
{
	return connect(socket, (const struct sockaddr *)to, sizeof(*to));
}

static uint64_t transactions(const struct order *order)
{
	unsigned int count = order->calls + BATCH;
	pid_t child = serve_connections(count);
	uint64_t began = 0;
	int status;

	for (unsigned int at = 0; at < count; at++) {
		struct sockaddr_in to = target(order, at);
		unsigned char byte = at;

		if (at == BATCH)
			began = now();
		int opened = open_socket(SOCK_STREAM);

		check(!connect_to(opened, &to), "connect");
		check(send(opened, &byte, 1, 0) == 1, "send");
		check(recv(opened, &byte, 1, 0) == 1, "recv");
		check_byte(byte, (unsigned char)at ^ MASK);
		close(opened);
	}
	uint64_t took = now() - began;

	check(waitpid(child, &status, 0) == child, "waitpid");
	check(status == 0, "the backend ended early");
	served += count;
	return took;
}

static uint64_t connect_many(const struct order *order, unsigned int from)
{
	struct sockaddr_in to[BATCH];

	for (unsigned int at = 0; at < BATCH; at++)
		to[at] = target(order, from + at);
	uint64_t began = now();

	for (unsigned int at = 0; at < BATCH; at++)
		check(!connect_to(many[at], &to[at]) || errno == EINPROGRESS, "connect");
	return now() - began;
}

static uint64_t tcp_connect(const struct order *order, unsigned int from)
{
	for (unsigned int at = 0; at < BATCH; at++) {
		many[at] = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
		reset_on_close(many[at]);
	}
	uint64_t took = connect_many(order, from);

	for (unsigned int at = 0; at < BATCH; at++, served++) {
		int accepted = accept(listener, NULL, NULL);

		check(accepted >= 0, "accept");
		close(accepted);
	}
	for (unsigned int at = 0; at < BATCH; at++)
		close(many[at]);
	return took;
}

static uint64_t udp_connect(const struct order *order, unsigned int from)
{
	for (unsigned int at = 0; at < BATCH; at++)
		many[at] = open_socket(SOCK_DGRAM);
	uint64_t took = connect_many(order, from);

	for (unsigned int at = 0; at < BATCH; at++)
		check(send(many[at], "?", 1, 0) == 1, "send");
	serve_datagrams(BATCH, 0);
	for (unsigned int at = 0; at < BATCH; at++)
		close(many[at]);
	return took;
}

static uint64_t udp_reconnect(const struct order *order, unsigned int from)
{
	for (unsigned int at = 0; at < BATCH; at++)
		many[at] = client;
	uint64_t took = connect_many(order, from);

	check(send(client, "?", 1, 0) == 1, "send");
	serve_datagrams(1, 0);
	return took;
}

static void send_one(int socket, const struct sockaddr_in *to, unsigned char byte)
{
	check(sendto(socket, &byte, 1, 0, (const struct sockaddr *)to, sizeof(*to)) == 1, "sendto");
}

static uint64_t udp_send(const struct order *order, unsigned int from)
{
	struct sockaddr_in to = target(order, 0);
	uint64_t began = now();

	for (unsigned int at = 0; at < BATCH; at++)
		send_one(client, &to, from + at);
	uint64_t took = now() - began;

	serve_datagrams(BATCH, 0);
	return took;
}

static uint64_t udp_send_first(const struct order *order, unsigned int from)
{
	struct sockaddr_in to[BATCH];

	for (unsigned int at = 0; at < BATCH; at++) {
		many[at] = open_socket(SOCK_DGRAM);
		to[at] = target(order, from + at);
	}
	uint64_t began = now();

	for (unsigned int at = 0; at < BATCH; at++)
		send_one(many[at], &to[at], at);
	uint64_t took = now() - began;

	serve_datagrams(BATCH, 0);
	for (unsigned int at = 0; at < BATCH; at++)
		close(many[at]);
	return took;
}

/* Answers must show the address that was asked for, whoever gave them. */
static uint64_t udp_receive(const struct order *order, unsigned int from)
{
	struct sockaddr_in to = target(order, 0);

	for (unsigned int at = 0; at < BATCH; at++)
		send_one(client, &to, from + at);
	serve_datagrams(BATCH, 1);
	uint64_t began = now();

	for (unsigned int at = 0; at < BATCH; at++) {
		struct sockaddr_in shown;
		socklen_t size = sizeof(shown);
		unsigned char byte;

		check(recvfrom(client, &byte, 1, 0, (struct sockaddr *)&shown, &size) == 1,
		      "recvfrom");
		check_byte(byte, (unsigned char)(from + at) ^ MASK);
		check(same_place(&shown, &to), "the answer shows another sender");
	}
	return now() - began;
}

static uint64_t peer(const struct order *order, unsigned int from)
{
	struct sockaddr_in to = target(order, 0);
	uint64_t began = now();

	(void)from;
	for (unsigned int at = 0; at < BATCH; at++) {
		struct sockaddr_in shown;
		socklen_t size = sizeof(shown);

		check(!getpeername(client, (struct sockaddr *)&shown, &size), "getpeername");
		check(same_place(&shown, &to), "getpeername shows another peer");
	}
	return now() - began;
}

static void open_datagrams(const struct order *order)
{
	(void)order;
	client = open_socket(SOCK_DGRAM);
}

static void open_udp_peer(const struct order *order)
{
	struct sockaddr_in to = target(order, 0);
	unsigned char byte = 1;

	client = open_socket(SOCK_DGRAM);
	check(!connect_to(client, &to), "connect");
	check(send(client, &byte, 1, 0) == 1, "send");
	serve_datagrams(1, 1);
	check(recv(client, &byte, 1, 0) == 1, "recv");
	check_byte(byte, 1 ^ MASK);
}

static void open_tcp_peer(const struct order *order)
{
	struct sockaddr_in to = target(order, 0);

	client = open_socket(SOCK_STREAM);
	reset_on_close(client);
	check(!connect_to(client, &to), "connect");
	server = accept(listener, NULL, NULL);
	check(server >= 0, "accept");
	served++;
}

struct call {
	const char *name;
	void (*open)(const struct order *order);
	uint64_t (*batch)(const struct order *order, unsigned int from);
};

static const struct call calls[] = {
	{ "tcp-connect", NULL, tcp_connect },
	{ "udp-connect", NULL, udp_connect },
	{ "udp-reconnect", open_datagrams, udp_reconnect },
	{ "udp-send", open_datagrams, udp_send },
	{ "udp-send-first", NULL, udp_send_first },
	{ "udp-receive", open_datagrams, udp_receive },
	{ "tcp-peer", open_tcp_peer, peer },
	{ "udp-peer", open_udp_peer, peer },
};

static uint64_t run_batches(const struct call *call, const struct order *order)
{
	uint64_t took = 0;

	if (call->open)
		call->open(order);
	/* The first batch finds cold caches, and makes what the socket remembers. */
	for (unsigned int from = 0; from < order->calls + BATCH; from += BATCH) {
		uint64_t batch = call->batch(order, from);

		if (from)
			took += batch;
	}
	if (client >= 0)
		close(client);
	if (server >= 0)
		close(server);
	client = server = -1;
	return took;
}

static uint64_t run_order(const struct order *order)
{
	if (!strcmp(order->call, "transaction"))
		return transactions(order);
	for (unsigned int at = 0; at < sizeof(calls) / sizeof(*calls); at++)
		if (!strcmp(order->call, calls[at].name))
			return run_batches(&calls[at], order);
	errno = EINVAL;
	die(order->call);
	return 0;
}

/*
 * The last CPU that we may use, since the first ones do the machine's other work; and before all
 * ordinary processes, which otherwise take turns with us. Where the kernel keeps real-time
 * priorities from our control group, the spread is larger, that is all.
 */
static void take_one_cpu(void)
{
	struct sched_param first = { .sched_priority = 1 };
	cpu_set_t allowed, one;
	int last = 0;

	check(!sched_getaffinity(0, sizeof(allowed), &allowed), "sched_getaffinity");
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			last = cpu;
	CPU_ZERO(&one);
	CPU_SET(last, &one);
	check(!sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
	check(!sched_setscheduler(0, SCHED_FIFO, &first) || errno == EPERM, "sched_setscheduler");
}

/* From now on new sockets meet the cgroup's programs. */
static void enter_cgroup(const char *path)
{
	char file[4096];

	snprintf(file, sizeof(file), "%s/cgroup.procs", path);
	int opened = open(file, O_WRONLY | O_CLOEXEC);

	check(opened >= 0 && write(opened, "0", 1) == 1, file);
	close(opened);
}

int main(int count, char **arguments)
{
	struct order order;

	if (count != 2)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	take_one_cpu();
	open_backends();
	enter_cgroup(arguments[1]);
	while (scanf("%31s %u %u %u %u %u %u", order.call, &order.first, &order.port, &order.apart,
		     &order.addresses, &order.start, &order.calls) == 7) {
		alarm(SECONDS_MAX);
		served = 0;
		uint64_t took = run_order(&order);

		alarm(0);
		printf("%llu %u\n", (unsigned long long)took, served);
		fflush(stdout);
	}
	return 0;
}
