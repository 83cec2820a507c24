/* A closed-loop load generator: every connection sends its next call when its last one is complete.
 *
 * One thread, one epoll. The bearer token comes in the environment as BENCH_BEARER, so that no process list
 * shows it. An answer counts when it is a 200, whole by its framing (content-length, or the last chunk), and,
 * as a stream, ended by [DONE]. What is under way when the time is up is waited for, so that no call is left
 * half paid. The last line of output is one JSON object, latencies in microseconds:
 * `latency` to the last byte, `first` to the first byte of the body, `gap` between arrivals within a body.
 */
#define _GNU_SOURCE
#include "response.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READ_SIZE = 256 << 10, MAX_EVENTS = 512, STALL_NS = 50000000, TICK_MS = 200 };

struct samples { uint64_t *ns; size_t len, cap; };

struct conn {
    int fd;
    bool busy, wants_out;
    size_t sent;
    unsigned arrivals;
    uint64_t began_ns, first_ns, last_ns;
    struct response response;
};

static struct samples latency, first, gap;
static uint64_t calls, ok, bytes, stalls, arrivals, issued, by_status[600];
static uint64_t closed, unframed, unfinished, timed_out;
static unsigned events_min = UINT32_MAX, events_max;
static bool stream_wanted;
static char *request;
static size_t request_len;
static struct sockaddr_in address;
static uint64_t limit_calls = UINT64_MAX, deadline_ns = UINT64_MAX, timeout_ns = UINT64_C(60000000000), end_ns;
static int epoll_fd;
static size_t in_flight;

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "not understood");
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sample(struct samples *samples, uint64_t ns)
{
    if (samples->len == samples->cap) {
        samples->cap = samples->cap ? samples->cap * 2 : 65536;
        samples->ns = realloc(samples->ns, samples->cap * sizeof *samples->ns);
        if (!samples->ns)
            die("memory");
    }
    samples->ns[samples->len++] = ns;
}

static void watch(struct conn *c, int operation, bool out)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (out ? EPOLLOUT : 0u), .data.ptr = c};
    if (epoll_ctl(epoll_fd, operation, c->fd, &event) < 0)
        die("epoll_ctl");
    c->wants_out = out;
}

/* Connecting is not part of any call's time: it blocks, and happens before the clock of the call starts. */
static void dial(struct conn *c)
{
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(c, EPOLL_CTL_ADD, false);
}

static void redial(struct conn *c)
{
    close(c->fd);
    dial(c);
}

/* A connection that breaks here shows as end of file. */
static void send_rest(struct conn *c)
{
    while (c->sent < request_len) {
        ssize_t n = send(c->fd, request + c->sent, request_len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno == EAGAIN && !c->wants_out)
                watch(c, EPOLL_CTL_MOD, true);
            return;
        }
        c->sent += (size_t)n;
    }
    if (c->wants_out)
        watch(c, EPOLL_CTL_MOD, false);
}

static void begin_call(struct conn *c)
{
    uint64_t now = now_ns();
    if (issued >= limit_calls || now >= deadline_ns)
        return;
    issued++;
    in_flight++;
    c->busy = true;
    c->sent = 0;
    c->arrivals = 0;
    response_reset(&c->response);
    c->first_ns = c->last_ns = 0;
    c->began_ns = now;
    send_rest(c);
}

static bool body_is_right(const struct response *r)
{
    return stream_wanted ? r->sse && response_ends_with(r, "data: [DONE]\n\n") : !r->sse && response_ends_with(r, "}");
}

static void complain(const struct response *r, const char *what)
{
    static int complaints;
    if (complaints++ < 5)
        fprintf(stderr, "load: %s: status %d, %zu bytes, body ends: %.*s\n", what, r->status, r->body_len,
                (int)r->tail_len, r->tail);
}

/* One call is over: `broken` counts why it failed, NULL says that its answer is whole. */
static void end_call(struct conn *c, uint64_t now, uint64_t *broken, const char *what)
{
    const struct response *r = &c->response;
    c->busy = false;
    in_flight--;
    calls++;
    end_ns = now;
    if (!broken && r->status != 200) {
        broken = &by_status[r->status];
        what = "refused";
    } else if (!broken && !body_is_right(r)) {
        broken = &unfinished;
        what = "not finished";
    }
    if (broken) {
        ++*broken;
        complain(r, what);
        return;
    }
    ok++;
    sample(&latency, now - c->began_ns);
    sample(&first, c->first_ns - c->began_ns);
    arrivals += c->arrivals;
    events_min = r->events < events_min ? r->events : events_min;
    events_max = r->events > events_max ? r->events : events_max;
}

static void note_arrival(struct conn *c, uint64_t now)
{
    c->arrivals++;
    if (!c->first_ns)
        c->first_ns = now;
    else {
        sample(&gap, now - c->last_ns);
        stalls += now - c->last_ns > STALL_NS;
    }
    c->last_ns = now;
}

static void on_readable(struct conn *c)
{
    static char data[READ_SIZE];
    ssize_t n = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    uint64_t now = now_ns();
    if (n <= 0 || !c->busy) {
        if (c->busy)
            end_call(c, now, &closed, "closed");
        redial(c);
        begin_call(c);
        return;
    }
    struct response *r = &c->response;
    size_t had = r->body_len;
    bytes += (uint64_t)n;
    response_feed(r, data, (size_t)n);
    if (r->body_len > had)
        note_arrival(c, now);
    if (r->state != WHOLE && r->state != BAD)
        return;
    end_call(c, now, r->state == BAD ? &unframed : NULL, "not framed");
    if (r->state == BAD || r->close_after || c->sent < request_len)
        redial(c);
    begin_call(c);
}

static void end_timed_out(struct conn *conns, size_t count, uint64_t now)
{
    for (struct conn *c = conns; c < conns + count; c++)
        if (c->busy && now - c->began_ns > timeout_ns) {
            end_call(c, now, &timed_out, "timed out");
            redial(c);
            begin_call(c);
        }
}

static int ascending(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Nearest rank. */
static double at_us(const struct samples *samples, double share)
{
    if (!samples->len)
        return 0;
    size_t rank = (size_t)(share * (double)samples->len + 0.999999);
    rank = rank < 1 ? 1 : rank > samples->len ? samples->len : rank;
    return (double)samples->ns[rank - 1] / 1000;
}

static void print_samples(const char *name, struct samples *samples)
{
    if (samples->len)
        qsort(samples->ns, samples->len, sizeof *samples->ns, ascending);
    printf(",\"%s\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}", name, at_us(samples, .5),
           at_us(samples, .9), at_us(samples, .99), at_us(samples, 1));
    free(samples->ns);
}

static void print_result(uint64_t start_ns)
{
    double seconds = end_ns > start_ns ? (double)(end_ns - start_ns) / 1e9 : 0;
    const char *comma = "";
    printf("{\"calls\":%" PRIu64 ",\"ok\":%" PRIu64 ",\"errors\":{", calls, ok);
    for (int status = 0; status < 600; status++)
        if (by_status[status]) {
            printf("%s\"%d\":%" PRIu64, comma, status, by_status[status]);
            comma = ",";
        }
    const struct { const char *name; uint64_t count; } kinds[] = {
        {"closed", closed}, {"unframed", unframed}, {"unfinished", unfinished}, {"timed_out", timed_out}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].count) {
            printf("%s\"%s\":%" PRIu64, comma, kinds[i].name, kinds[i].count);
            comma = ",";
        }
    printf("},\"seconds\":%.3f,\"per_s\":%.1f,\"bytes\":%" PRIu64, seconds, seconds > 0 ? (double)ok / seconds : 0, bytes);
    print_samples("latency", &latency);
    print_samples("first", &first);
    print_samples("gap", &gap);
    printf(",\"stalls_over_50ms\":%" PRIu64 ",\"events\":{\"min\":%u,\"max\":%u},\"arrivals_per_call\":%.2f}\n", stalls,
           ok ? events_min : 0, events_max, ok ? (double)arrivals / (double)ok : 0);
}

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) < 0)
        die(path);
    long size = ftell(file);
    char *data = malloc((size_t)size + 1);
    rewind(file);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
        die(path);
    fclose(file);
    *len = (size_t)size;
    return data;
}

static void build_request(const char *url, const char *body_path)
{
    char host[64], path[512] = "/", head[2048];
    int port = 80;
    size_t body_len;
    errno = 0;
    if (sscanf(url, "http://%63[^:/]:%d%511s", host, &port, path) < 2)
        die(url);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die(url);
    char *body = read_file(body_path, &body_len);
    const char *bearer = getenv("BENCH_BEARER");
    int n = snprintf(head, sizeof head,
        "POST %s HTTP/1.1\r\nhost: %s:%d\r\nauthorization: Bearer %s\r\ncontent-type: application/json\r\n"
        "accept: %s\r\nuser-agent: naive-bench\r\ncontent-length: %zu\r\n\r\n",
        path, host, port, bearer ? bearer : "sk-or-v1-bench", stream_wanted ? "text/event-stream" : "application/json",
        body_len);
    request_len = (size_t)n + body_len;
    request = malloc(request_len);
    if (!request)
        die("memory");
    memcpy(request, head, (size_t)n);
    memcpy(request + n, body, body_len);
    free(body);
}

/* Begins those connections whose time has come; returns the milliseconds until the next one's. */
static int begin_some(struct conn *conns, size_t count, uint64_t start_ns, uint64_t ramp_ns)
{
    static size_t begun;
    for (; begun < count; begun++) {
        uint64_t due_ns = start_ns + ramp_ns / count * begun, now = now_ns();
        if (now < due_ns)
            return (int)((due_ns - now) / 1000000) + 1;
        begin_call(&conns[begun]);
    }
    return TICK_MS;
}

static void run(struct conn *conns, size_t count, uint64_t start_ns, uint64_t ramp_ns)
{
    struct epoll_event events[MAX_EVENTS];
    uint64_t checked = start_ns;
    int wait_ms = begin_some(conns, count, start_ns, ramp_ns);
    while (in_flight || (wait_ms < TICK_MS && issued < limit_calls && now_ns() < deadline_ns)) {
        int n = epoll_wait(epoll_fd, events, MAX_EVENTS, wait_ms);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if ((events[i].events & EPOLLOUT) && c->busy)
                send_rest(c);
            if (events[i].events & ~(unsigned)EPOLLOUT)
                on_readable(c);
        }
        uint64_t now = now_ns();
        if (now - checked > UINT64_C(1000000) * TICK_MS) {
            end_timed_out(conns, count, now);
            checked = now;
        }
        if (ramp_ns)
            wait_ms = begin_some(conns, count, start_ns, ramp_ns);
    }
}

int main(int argc, char **argv)
{
    const char *url = NULL, *body = NULL;
    size_t count = 1;
    double seconds = 0, ramp_s = 0;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(name, "--stream")) {
            stream_wanted = true;
            continue;
        }
        i++;
        if (!strcmp(name, "--url")) url = value;
        else if (!strcmp(name, "--body")) body = value;
        else if (!strcmp(name, "--connections")) count = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--calls")) limit_calls = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--seconds")) seconds = strtod(value, NULL);
        else if (!strcmp(name, "--ramp")) ramp_s = strtod(value, NULL);
        else if (!strcmp(name, "--timeout")) timeout_ns = (uint64_t)(strtod(value, NULL) * 1e9);
        else url = NULL, argc = 0;
    }
    if (!url || !body || !count || (limit_calls == UINT64_MAX && seconds <= 0)) {
        fprintf(stderr, "usage: load --url http://127.0.0.1:PORT/PATH --body FILE [--stream] [--connections N]"
                        " [--calls N] [--seconds S] [--ramp S] [--timeout S]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    build_request(url, body);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct conn *conns = calloc(count, sizeof *conns);
    if (epoll_fd < 0 || !conns)
        die("start");
    for (size_t i = 0; i < count; i++)
        dial(&conns[i]);
    uint64_t start_ns = end_ns = now_ns();
    if (seconds > 0)
        deadline_ns = start_ns + (uint64_t)(seconds * 1e9);
    run(conns, count, start_ns, (uint64_t)(ramp_s * 1e9));
    print_result(start_ns);
    for (size_t i = 0; i < count; i++)
        close(conns[i].fd);
    free(conns);
    free(request);
    return ok == calls ? 0 : 1;
}
