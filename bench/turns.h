/* When each stream of the bench's upstream says its next frame: in the next event loop turn, or at a time. */
#ifndef TURNS_H
#define TURNS_H

#include <stdbool.h>
#include <stdint.h>

struct turn {
    uint64_t due_ns; /* on the clock of now_ns, 0 when it was never set */
    struct turn *next;
    bool queued;
};

uint64_t now_ns(void);
void turn_soon(struct turn *turn);
void turn_at(struct turn *turn, uint64_t due_ns);
struct turn *turns_due(void); /* a list; whoever takes it clears `queued`, after reading `next` */
struct turn *turns_all(void); /* the same, due or not, for the end */
int turns_wait_ms(void);      /* for epoll_wait */

#endif
