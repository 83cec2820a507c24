/* An HTTP/1.1 response as it comes in: its framing is checked byte by byte, of its body only the end is kept. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_LIMIT = 16 << 10, TAIL = 256 };
enum response_state { HEAD, LENGTH, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, WHOLE, BAD };

struct response {
    enum response_state state;
    int status;
    bool sse, close_after, after_newline;
    uint64_t left; /* of the body, or of the chunk */
    size_t size_len, trailer_len, head_len, tail_len, body_len;
    unsigned events; /* empty lines in the body: each ends an SSE event or comment */
    char tail[TAIL];
    char head[HEAD_LIMIT];
};

void response_reset(struct response *r);
void response_feed(struct response *r, const char *data, size_t len);
bool response_ends_with(const struct response *r, const char *end);

#endif
