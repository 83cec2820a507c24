/* What the bench's upstream says, as bytes: JSON answers and SSE frames; no sockets here. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer { char *data; size_t len, cap; };

/* How a stream is paced: its data chunks, the waits before the first and between the others, one write or many. */
struct plan { unsigned chunks, gap_ms, first_ms, coalesce; };

struct completion {
    char id[64];
    long created;
    struct plan plan;
    unsigned step; /* next frame: data 0 .. chunks-1, then usage, [DONE], end of body */
};

void buffer_reserve(struct buffer *out, size_t cap);
void buffer_add(struct buffer *out, const char *data, size_t len);

void plan_read(struct plan *plan, const char *text, const char *end);
void plan_from_body(struct plan *plan, const char *body, size_t len);
bool wants_stream(const char *body, size_t len);

void add_completion(struct buffer *out, const struct completion *call, bool last_on_connection);
void add_stream_head(struct buffer *out, const struct completion *call, bool last_on_connection);
void add_frame(struct buffer *out, const struct completion *call);
bool frames_are_left(const struct completion *call);

void add_models(struct buffer *out, bool last_on_connection);
void add_generation(struct buffer *out, const char *path, uint64_t begun, bool last_on_connection);
void add_json(struct buffer *out, const char *json, bool last_on_connection);
void add_error(struct buffer *out, int code, bool last_on_connection);

#endif
