/* SPDX-License-Identifier: Apache-2.0 */
/* backends.c: the far side of bench/sockets.c, TCP by another process, UDP by the same. */
#define _GNU_SOURCE
#include "backends.h"
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKEND_PORT 8080
#ifndef ANSWER /* a test makes the backends answer something else */
#define ANSWER MASK
#endif

int listener;
unsigned int served;
static int backend;

void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

void check(int holds, const char *what)
{
	if (!holds)
		die(what);
}

void check_byte(unsigned char got, unsigned char wanted)
{
	if (got == wanted)
		return;
	fprintf(stderr, "the answer is not the backend's: %u in place of %u\n", got, wanted);
	exit(1);
}

int open_socket(int type)
{
	int opened = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	check(opened >= 0, "socket");
	return opened;
}

/* Closing resets the connection: no port is kept in TIME_WAIT. */
void reset_on_close(int socket)
{
	struct linger linger = { .l_onoff = 1 };

	check(!setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), "SO_LINGER");
}

void open_backends(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(BACKEND_PORT) };
	int on = 1;

	listener = open_socket(SOCK_STREAM);
	reset_on_close(listener); /* and what it accepts */
	check(!bind(listener, (struct sockaddr *)&any, sizeof(any)), "bind");
	check(!listen(listener, 1024), "listen");
	backend = open_socket(SOCK_DGRAM);
	check(!setsockopt(backend, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), "IP_PKTINFO");
	check(!bind(backend, (struct sockaddr *)&any, sizeof(any)), "bind");
}

/* Takes so many datagrams, and answers each from the address that it came to. */
void serve_datagrams(unsigned int count, int answers)
{
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
	struct sockaddr_in from;
	unsigned char byte;
	struct iovec bytes = { .iov_base = &byte, .iov_len = 1 };

	for (unsigned int done = 0; done < count; done++, served++) {
		struct msghdr message = { .msg_name = &from,
					  .msg_namelen = sizeof(from),
					  .msg_iov = &bytes,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) };

		check(recvmsg(backend, &message, 0) == 1, "the backend's recvmsg");
		if (!answers)
			continue;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		check(header != NULL, "IP_PKTINFO");
		((struct in_pktinfo *)CMSG_DATA(header))->ipi_ifindex = 0;
		byte ^= ANSWER;
		check(sendmsg(backend, &message, 0) == 1, "the backend's sendmsg");
	}
}

/*
 * The other process of a transaction. The client closes first, as clients do; this end then resets
 * what is left, so that the client's end does not stay in TIME_WAIT.
 */
pid_t serve_connections(unsigned int count)
{
	pid_t parent = getpid(), child = fork();

	check(child >= 0, "fork");
	if (child)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it ended before we could ask to be told */
		_exit(1);
	alarm(SECONDS_MAX);
	while (count--) {
		int accepted = accept(listener, NULL, NULL);
		unsigned char byte;

		check(accepted >= 0, "accept");
		check(recv(accepted, &byte, 1, 0) == 1, "the backend's recv");
		byte ^= ANSWER;
		check(send(accepted, &byte, 1, 0) == 1, "the backend's send");
		check(recv(accepted, &byte, 1, 0) == 0, "the client closes");
		close(accepted);
	}
	_exit(0);
}
