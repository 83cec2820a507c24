/* A stand-in for OpenRouter that costs next to nothing, so that what the bench measures is the gateway.
 *
 * One thread, one epoll; what it says is in answers.c, when a stream goes on in turns.c.
 *
 *   POST .../chat/completions   JSON, or SSE when the body has "stream": true
 *   GET  .../models             a small catalogue
 *   GET  .../generation?id=     the record of a completion that was begun
 *   GET  /count                 {"completions":n,"begun":n,"cut":n}, so that the books can be compared
 *
 * Each SSE frame is a write of its own in an event loop turn of its own: frames that arrive glued together
 * flatter whoever forwards them. The model's suffix, or --stream, changes the stream:
 *   openai/gpt-5-mini:bench=chunks=100,gap_ms=50,first_ms=2000,coalesce=1
 */
#define _GNU_SOURCE
#include "answers.h"
#include "turns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_LIMIT = 64 << 10, BODY_LIMIT = 64 << 20, READ_SIZE = 16 << 10, MAX_EVENTS = 512 };

struct conn {
    struct turn turn; /* first, so that a turn is its connection */
    int fd;
    bool wants_out, responding, completing, streaming, close_after, dead;
    int refusal;               /* status that the head earned, 0 for none */
    size_t head_len, body_len; /* of the request at the start of `in`; head_len 0: no whole head yet */
    struct buffer in, out;
    size_t out_off;
    struct completion call;
    struct conn *next_dead, *prev, *next;
};

static struct plan plan_default = {.chunks = 20};
static uint64_t begun, completed, cut;
static int epoll_fd, listen_fd;
static volatile sig_atomic_t stopping;
static struct conn *all, *dead_head;

static void die(const char *what)
{
    fprintf(stderr, "upstream: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

/* Freed at the end of the turn, or when popped from a queue: callers up the stack still hold the pointer. */
static void close_conn(struct conn *c)
{
    if (c->dead)
        return;
    if (c->completing)
        cut++;
    close(c->fd);
    c->dead = true;
    c->next_dead = dead_head;
    dead_head = c;
    *(c->prev ? &c->prev->next : &all) = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

static void free_conn(struct conn *c)
{
    free(c->in.data);
    free(c->out.data);
    free(c);
}

static void bury_dead(void)
{
    while (dead_head) {
        struct conn *c = dead_head;
        dead_head = c->next_dead;
        if (!c->turn.queued)
            free_conn(c);
    }
}

static void watch(struct conn *c, bool out)
{
    if (c->wants_out == out)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0u), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    c->wants_out = out;
}

/* True when all of `out` is with the kernel. */
static bool flushed(struct conn *c)
{
    while (c->out_off < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_off, c->out.len - c->out_off, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno == EAGAIN)
                watch(c, true);
            else
                close_conn(c);
            return false;
        }
        c->out_off += (size_t)n;
    }
    c->out_off = c->out.len = 0;
    watch(c, false);
    return true;
}

static void begin_completion(struct conn *c)
{
    const char *body = c->in.data + c->head_len;
    struct completion *call = &c->call;
    *call = (struct completion){.created = (long)time(NULL), .plan = plan_default};
    snprintf(call->id, sizeof call->id, "gen-%ld-%020" PRIu64, call->created, ++begun);
    c->completing = true;
    c->streaming = wants_stream(body, c->body_len);
    if (c->streaming) {
        plan_from_body(&call->plan, body, c->body_len);
        add_stream_head(&c->out, call, c->close_after);
    } else
        add_completion(&c->out, call, c->close_after);
}

static bool path_ends(const char *path, const char *end)
{
    size_t have = strcspn(path, "?"), want = strlen(end);
    return have >= want && !memcmp(path + have - want, end, want);
}

static void answer(struct conn *c)
{
    char method[8] = "", path[512] = "", line[128];
    sscanf(c->in.data, "%7s %511s", method, path);
    bool post = !strcmp(method, "POST"), get = !strcmp(method, "GET");
    c->responding = true;
    c->turn.due_ns = 0;
    c->close_after |= c->refusal != 0;
    if (c->refusal)
        add_error(&c->out, c->refusal, true);
    else if (post && path_ends(path, "/chat/completions"))
        begin_completion(c);
    else if (get && path_ends(path, "/models"))
        add_models(&c->out, c->close_after);
    else if (get && path_ends(path, "/generation"))
        add_generation(&c->out, path, begun, c->close_after);
    else if (get && path_ends(path, "/count")) {
        snprintf(line, sizeof line, "{\"completions\":%" PRIu64 ",\"begun\":%" PRIu64 ",\"cut\":%" PRIu64 "}",
                 completed, begun, cut);
        add_json(&c->out, line, c->close_after);
    } else
        add_error(&c->out, 404, c->close_after);
}

static void parse_head(struct conn *c)
{
    char *line = c->in.data, *end = line + c->head_len, *stop;
    for (; (stop = memchr(line, '\n', (size_t)(end - line))); line = stop + 1) {
        *stop = 0; /* so that the string functions stay on this line */
        if (line == c->in.data)
            c->close_after = strstr(line, "HTTP/1.0") != NULL;
        else if (!strncasecmp(line, "content-length:", 15)) {
            unsigned long long length = strtoull(line + 15, NULL, 10);
            c->body_len = length > BODY_LIMIT ? 0 : (size_t)length;
            c->refusal = length > BODY_LIMIT ? 413 : c->refusal;
        } else if (!strncasecmp(line, "transfer-encoding:", 18))
            c->refusal = 411;
        else if (!strncasecmp(line, "connection:", 11) && strcasestr(line, "close"))
            c->close_after = true;
    }
}

static bool request_is_whole(struct conn *c)
{
    if (!c->head_len) {
        char *end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL;
        if (!end) {
            if (c->in.len > HEAD_LIMIT)
                close_conn(c);
            return false;
        }
        c->head_len = (size_t)(end - c->in.data) + 4;
        parse_head(c);
    }
    return c->refusal || c->in.len >= c->head_len + c->body_len;
}

static void finish(struct conn *c)
{
    size_t used = c->head_len + c->body_len;
    completed += c->completing;
    c->responding = c->completing = c->streaming = false;
    c->head_len = c->body_len = 0;
    if (c->close_after) {
        close_conn(c);
        return;
    }
    c->in.len -= used;
    memmove(c->in.data, c->in.data + used, c->in.len);
}

/* What was said so far is with the kernel: the next frame is due in a later turn, or the answer is whole. */
static void advance(struct conn *c)
{
    const struct completion *call = &c->call;
    if (!c->streaming || !frames_are_left(call)) {
        finish(c);
        return;
    }
    unsigned pause_ms = call->step >= call->plan.chunks ? 0 : call->step ? call->plan.gap_ms : call->plan.first_ms;
    uint64_t pause_ns = pause_ms * UINT64_C(1000000);
    /* Streams that began together would speak in one voice: the first gap sets each apart from the others. */
    if (call->step == 1)
        pause_ns = pause_ns / 1024 * (begun * 619 % 1024 + 1);
    if (pause_ns)
        turn_at(&c->turn, (c->turn.due_ns ? c->turn.due_ns : now_ns()) + pause_ns);
    else
        turn_soon(&c->turn);
}

static void serve(struct conn *c)
{
    while (!c->dead && !c->responding && request_is_whole(c)) {
        answer(c);
        if (flushed(c))
            advance(c);
    }
}

static void stream_step(struct conn *c)
{
    do {
        add_frame(&c->out, &c->call);
        c->call.step++;
    } while (c->call.plan.coalesce && frames_are_left(&c->call));
    if (flushed(c)) {
        advance(c);
        serve(c);
    }
}

static void run_due(void)
{
    for (struct turn *turn = turns_due(), *next; turn; turn = next) {
        struct conn *c = (struct conn *)turn;
        next = turn->next;
        turn->queued = false;
        if (c->dead)
            free_conn(c);
        else
            stream_step(c);
    }
}

static void on_readable(struct conn *c)
{
    ssize_t n = 1;
    size_t space = 0;
    while (!c->dead && (size_t)n >= space) {
        size_t whole = c->head_len + c->body_len;
        size_t room = whole > c->in.len + READ_SIZE ? whole - c->in.len : READ_SIZE;
        if (c->in.len > (size_t)BODY_LIMIT + HEAD_LIMIT) {
            close_conn(c);
            return;
        }
        buffer_reserve(&c->in, c->in.len + room);
        space = c->in.cap - c->in.len;
        do
            n = recv(c->fd, c->in.data + c->in.len, space, 0);
        while (n < 0 && errno == EINTR);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            close_conn(c);
        if (n <= 0)
            return;
        c->in.len += (size_t)n;
        serve(c);
    }
}

static void accept_all(void)
{
    int fd, one = 1;
    while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
            die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->fd = fd;
        c->next = all;
        if (all)
            all->prev = c;
        all = c;
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
        die("accept");
}

static void on_event(const struct epoll_event *event)
{
    struct conn *c = event->data.ptr;
    if (!c) {
        accept_all();
        return;
    }
    if (!c->dead && (event->events & EPOLLERR))
        close_conn(c);
    if (!c->dead && (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)))
        on_readable(c);
    if (!c->dead && (event->events & EPOLLOUT) && c->out.len && flushed(c)) {
        advance(c);
        serve(c);
    }
}

static void listen_on(int port)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listen_fd, (struct sockaddr *)&address, len) < 0 || listen(listen_fd, 4096) < 0)
        die("listen");
    getsockname(listen_fd, (struct sockaddr *)&address, &len);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0)
        die("epoll");
    printf("{\"url\":\"http://127.0.0.1:%d/api/v1\"}\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void free_all(void)
{
    while (all)
        close_conn(all);
    bury_dead();
    for (struct turn *turn = turns_all(), *next; turn; turn = next) {
        next = turn->next;
        free_conn((struct conn *)turn);
    }
}

int main(int argc, char **argv)
{
    int port = 0;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 < argc && !strcmp(argv[i], "--port"))
            port = atoi(argv[i + 1]);
        else if (i + 1 < argc && !strcmp(argv[i], "--stream"))
            plan_read(&plan_default, argv[i + 1], argv[i + 1] + strlen(argv[i + 1]));
        else {
            fprintf(stderr, "usage: upstream [--port N] [--stream chunks=20,gap_ms=0,first_ms=0,coalesce=0]\n");
            return 2;
        }
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    listen_on(port);
    while (!stopping) {
        struct epoll_event events[MAX_EVENTS];
        int n = epoll_wait(epoll_fd, events, MAX_EVENTS, turns_wait_ms());
        for (int i = 0; i < n; i++)
            on_event(&events[i]);
        bury_dead(); /* first: a dead connection that is still queued is freed when it is popped */
        run_due();
        bury_dead();
    }
    free_all();
    return 0;
}
