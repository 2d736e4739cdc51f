/* SPDX-License-Identifier: Apache-2.0 */
/* backends.h: who answers the calls of bench/sockets.c. */
#pragma once

#include <sys/types.h>

#define SECONDS_MAX 60	 /* of one order; a lost packet ends the run instead of distorting it */
#define MASK	    0xa5 /* between the byte of a request and that of its answer */

extern int listener;	    /* of TCP */
extern unsigned int served; /* requests that reached a backend */

/* Ends the program with what errno says. */
void die(const char *what);
void check(int holds, const char *what);
/* Ends the program if an answer is not the one that our backends give. */
void check_byte(unsigned char got, unsigned char wanted);

int open_socket(int type);
/* Closing will reset the connection: no port is kept in TIME_WAIT. */
void reset_on_close(int socket);

void open_backends(void);
/* Takes so many datagrams, and answers each from the address that it came to. */
void serve_datagrams(unsigned int count, int answers);
/* Starts the other process of transactions; it ends when it has served so many. */
pid_t serve_connections(unsigned int count);
