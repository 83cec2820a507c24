/* Splits may fall anywhere: every state takes one byte at a time or as many as there are. */
#define _GNU_SOURCE
#include "response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void response_reset(struct response *r)
{
    memset(r, 0, offsetof(struct response, tail));
}

bool response_ends_with(const struct response *r, const char *end)
{
    size_t len = strlen(end);
    return r->tail_len >= len && !memcmp(r->tail + r->tail_len - len, end, len);
}

static void parse_head(struct response *r)
{
    bool framed = false;
    char *save = NULL;
    r->state = BAD;
    if (sscanf(r->head, "HTTP/1.1 %3d", &r->status) != 1 || r->status < 100 || r->status > 599)
        return;
    strtok_r(r->head, "\r\n", &save);
    for (char *line; (line = strtok_r(NULL, "\r\n", &save));) {
        if (!strncasecmp(line, "content-length:", 15)) {
            r->left = strtoull(line + 15, NULL, 10);
            r->state = r->left ? LENGTH : WHOLE;
            framed = true;
        } else if (!strncasecmp(line, "transfer-encoding:", 18) && strcasestr(line, "chunked")) {
            r->left = r->size_len = 0;
            r->state = CHUNK_SIZE;
            framed = true;
        } else if (!strncasecmp(line, "content-type:", 13))
            r->sse = strcasestr(line, "text/event-stream") != NULL;
        else if (!strncasecmp(line, "connection:", 11) && strcasestr(line, "close"))
            r->close_after = true;
    }
    if (!framed)
        r->state = BAD;
}

/* Returns how much of `data` belonged to the head. */
static size_t feed_head(struct response *r, const char *data, size_t len)
{
    size_t had = r->head_len, take = len < HEAD_LIMIT - 1 - had ? len : HEAD_LIMIT - 1 - had;
    memcpy(r->head + had, data, take);
    r->head_len += take;
    char *end = memmem(r->head, r->head_len, "\r\n\r\n", 4);
    if (!end) {
        r->state = r->head_len >= HEAD_LIMIT - 1 ? BAD : HEAD;
        return take;
    }
    end[2] = 0;
    size_t used = (size_t)(end - r->head) + 4 - had;
    parse_head(r);
    return used;
}

static void take_body(struct response *r, const char *data, size_t len)
{
    if (len >= TAIL) {
        memcpy(r->tail, data + len - TAIL, TAIL);
        r->tail_len = TAIL;
    } else {
        size_t keep = r->tail_len + len > TAIL ? TAIL - len : r->tail_len;
        memmove(r->tail, r->tail + r->tail_len - keep, keep);
        memcpy(r->tail + keep, data, len);
        r->tail_len = keep + len;
    }
    r->body_len += len;
    for (const char *at = data, *end = data + len, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) {
            r->after_newline = false;
            break;
        }
        /* An empty line ends an event: two line feeds with nothing between them, wherever the reads split. */
        r->events += stop == at && r->after_newline;
        r->after_newline = true;
    }
}

static void feed_chunk_line(struct response *r, char byte)
{
    int digit = byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
              : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
    if (r->state == CHUNK_SIZE && digit >= 0) {
        r->left = r->left * 16 + (uint64_t)digit;
        r->size_len++;
    } else if (r->state == CHUNK_SIZE && byte == '\n') {
        r->trailer_len = 0;
        r->state = !r->size_len ? BAD : r->left ? CHUNK_DATA : TRAILER;
    } else if (r->state == CHUNK_END && byte == '\n') {
        r->left = r->size_len = 0;
        r->state = CHUNK_SIZE;
    } else if (r->state == TRAILER && byte == '\n') {
        r->state = r->trailer_len ? TRAILER : WHOLE;
        r->trailer_len = 0;
    } else if (byte != '\r' && r->state == TRAILER)
        r->trailer_len++;
    else if (byte != '\r')
        r->state = BAD;
}

void response_feed(struct response *r, const char *data, size_t len)
{
    while (len && r->state != BAD) {
        size_t used = 1;
        if (r->state == HEAD)
            used = feed_head(r, data, len);
        else if (r->state == LENGTH || r->state == CHUNK_DATA) {
            used = len < r->left ? len : (size_t)r->left;
            take_body(r, data, used);
            r->left -= used;
            if (!r->left)
                r->state = r->state == LENGTH ? WHOLE : CHUNK_END;
        } else if (r->state == WHOLE)
            r->state = BAD; /* more than was announced */
        else
            feed_chunk_line(r, *data);
        data += used;
        len -= used;
    }
}
