/* A list for the next event loop turn and a binary heap for what is due later. */
#define _GNU_SOURCE
#include "turns.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct turn *head, *tail;
static struct turn **heap;
static size_t heap_len, heap_cap;

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void turn_soon(struct turn *turn)
{
    turn->queued = true;
    turn->next = NULL;
    *(head ? &tail->next : &head) = turn;
    tail = turn;
}

void turn_at(struct turn *turn, uint64_t due_ns)
{
    if (heap_len == heap_cap) {
        heap_cap = heap_cap ? heap_cap * 2 : 1024;
        heap = realloc(heap, heap_cap * sizeof *heap);
        if (!heap) {
            fprintf(stderr, "upstream: out of memory\n");
            exit(1);
        }
    }
    size_t at = heap_len++;
    turn->queued = true;
    turn->due_ns = due_ns;
    for (; at && heap[(at - 1) / 2]->due_ns > due_ns; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = turn;
}

static struct turn *heap_pop(void)
{
    struct turn *top = heap[0], *last = heap[--heap_len];
    size_t at = 0, child;
    for (; (child = 2 * at + 1) < heap_len; at = child) {
        if (child + 1 < heap_len && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (heap[child]->due_ns >= last->due_ns)
            break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return top;
}

struct turn *turns_due(void)
{
    uint64_t now = heap_len ? now_ns() : 0;
    while (heap_len && heap[0]->due_ns <= now)
        turn_soon(heap_pop());
    struct turn *due = head;
    head = NULL;
    return due;
}

struct turn *turns_all(void)
{
    while (heap_len)
        turn_soon(heap_pop());
    free(heap);
    heap = NULL;
    heap_cap = 0;
    return turns_due();
}

int turns_wait_ms(void)
{
    if (head)
        return 0;
    if (!heap_len)
        return -1;
    uint64_t now = now_ns();
    return heap[0]->due_ns <= now ? 0 : (int)((heap[0]->due_ns - now + 999999) / 1000000);
}
