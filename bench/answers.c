/* Wire shapes of OpenRouter, each completion at 0.00014 USD: 80 prompt and 60 completion tokens of MODEL. */
#define _GNU_SOURCE
#include "answers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL "openai/gpt-5-mini"
#define USAGE                                                                                               \
    "\"usage\":{\"prompt_tokens\":80,\"completion_tokens\":60,\"total_tokens\":140,\"cost\":0.00014,"       \
    "\"is_byok\":false,\"prompt_tokens_details\":{\"cached_tokens\":0,\"cache_write_tokens\":0,"            \
    "\"audio_tokens\":0,\"video_tokens\":0},\"cost_details\":{\"upstream_inference_cost\":0.00014,"         \
    "\"upstream_inference_prompt_cost\":0.00002,\"upstream_inference_completions_cost\":0.00012},"          \
    "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"image_tokens\":0,\"audio_tokens\":0}}"
#define ENTRY(id, name, context, prompt, completion)                                                        \
    "{\"id\":\"" id "\",\"canonical_slug\":\"" id "\",\"hugging_face_id\":null,\"name\":\"" name "\","      \
    "\"created\":1754524800,\"description\":\"Served by the bench.\",\"context_length\":" context ","       \
    "\"architecture\":{\"modality\":\"text->text\",\"input_modalities\":[\"text\"],"                        \
    "\"output_modalities\":[\"text\"],\"tokenizer\":\"GPT\",\"instruct_type\":null},"                       \
    "\"pricing\":{\"prompt\":\"" prompt "\",\"completion\":\"" completion "\"},"                            \
    "\"top_provider\":{\"context_length\":" context ",\"max_completion_tokens\":128000,"                    \
    "\"is_moderated\":false},\"per_request_limits\":null,\"supported_parameters\":[\"max_tokens\","         \
    "\"response_format\",\"seed\",\"stop\",\"temperature\",\"tool_choice\",\"tools\",\"top_p\"],"           \
    "\"default_parameters\":null,\"supported_voices\":null,\"knowledge_cutoff\":null,"                      \
    "\"expiration_date\":null,\"links\":{\"details\":\"/api/v1/models/" id "/endpoints\"}}"

static const char CATALOGUE[] =
    "{\"data\":["
    ENTRY("openai/gpt-5-mini", "OpenAI: GPT-5 Mini", "400000", "0.00000025", "0.000002") ","
    ENTRY("openai/gpt-4o-mini", "OpenAI: GPT-4o-mini", "128000", "0.00000015", "0.0000006") ","
    ENTRY("google/gemini-2.5-flash", "Google: Gemini 2.5 Flash", "1048576", "0.0000003", "0.0000025") ","
    ENTRY("anthropic/claude-haiku-4.5", "Anthropic: Claude Haiku 4.5", "200000", "0.000001", "0.000005") ","
    ENTRY("openai/gpt-oss-120b:free", "OpenAI: gpt-oss-120b (free)", "131072", "0", "0")
    "],\"total_count\":5,\"links\":{\"next\":null}}";

void buffer_reserve(struct buffer *out, size_t cap)
{
    size_t wanted = out->cap ? out->cap : 4096;
    if (cap <= out->cap)
        return;
    while (wanted < cap)
        wanted *= 2;
    out->data = realloc(out->data, wanted);
    out->cap = wanted;
    if (!out->data) {
        fprintf(stderr, "upstream: out of memory\n");
        exit(1);
    }
}

void buffer_add(struct buffer *out, const char *data, size_t len)
{
    buffer_reserve(out, out->len + len);
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

void plan_read(struct plan *plan, const char *text, const char *end)
{
    while (text < end) {
        size_t left = (size_t)(end - text);
        const struct { const char *name; unsigned *value; } knobs[] = {
            {"chunks=", &plan->chunks}, {"gap_ms=", &plan->gap_ms},
            {"first_ms=", &plan->first_ms}, {"coalesce=", &plan->coalesce}};
        for (size_t i = 0; i < sizeof knobs / sizeof *knobs; i++) {
            size_t len = strlen(knobs[i].name);
            if (left <= len || memcmp(text, knobs[i].name, len))
                continue;
            *knobs[i].value = 0;
            for (const char *digit = text + len; digit < end && *digit >= '0' && *digit <= '9'; digit++)
                *knobs[i].value = (*knobs[i].value * 10 + (unsigned)(*digit - '0')) % 1000000;
        }
        const char *comma = memchr(text, ',', left);
        text = comma ? comma + 1 : end;
    }
}

void plan_from_body(struct plan *plan, const char *body, size_t len)
{
    const char *suffix = memmem(body, len, ":bench=", 7);
    if (!suffix)
        return;
    const char *quote = memchr(suffix, '"', (size_t)(body + len - suffix));
    plan_read(plan, suffix + 7, quote ? quote : body + len);
}

/* A quoted "stream" inside a prompt carries a backslash before its quote, so it does not match. */
bool wants_stream(const char *body, size_t len)
{
    const char *at = body, *end = body + len;
    while ((at = memmem(at, (size_t)(end - at), "\"stream\"", 8))) {
        at += 8;
        const char *value = at;
        while (value < end && memchr(" :\t\r\n", *value, 5))
            value++;
        if (end - value >= 4 && !memcmp(value, "true", 4))
            return true;
    }
    return false;
}

static void add_answer(struct buffer *out, const char *status, const char *extra, const char *body, size_t len,
                       bool last_on_connection)
{
    char head[512];
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n%s%s\r\n",
        status, len, extra, last_on_connection ? "connection: close\r\n" : "");
    buffer_add(out, head, (size_t)n);
    buffer_add(out, body, len);
}

void add_json(struct buffer *out, const char *json, bool last_on_connection)
{
    add_answer(out, "200 OK", "", json, strlen(json), last_on_connection);
}

void add_models(struct buffer *out, bool last_on_connection)
{
    add_answer(out, "200 OK", "", CATALOGUE, sizeof CATALOGUE - 1, last_on_connection);
}

void add_error(struct buffer *out, int code, bool last_on_connection)
{
    const char *status = code == 411 ? "411 Length Required" : code == 413 ? "413 Content Too Large" : "404 Not Found";
    char body[128];
    int n = snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\",\"code\":%d}}", status + 4, code);
    add_answer(out, status, "", body, (size_t)n, last_on_connection);
}

void add_completion(struct buffer *out, const struct completion *call, bool last_on_connection)
{
    char body[2048], extra[128];
    int n = snprintf(body, sizeof body,
        "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%ld,\"model\":\"" MODEL "\","
        "\"provider\":\"OpenAI\",\"system_fingerprint\":null,\"service_tier\":null,"
        "\"choices\":[{\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\","
        "\"native_finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"The books are "
        "right, the tenants are apart, and the reader is quick. Whoever calls pays what the call cost, no more "
        "and no less, and sees it at once.\",\"refusal\":null,\"reasoning\":null}}]," USAGE "}",
        call->id, call->created);
    snprintf(extra, sizeof extra, "x-generation-id: %s\r\nx-provider-name: OpenAI\r\n", call->id);
    add_answer(out, "200 OK", extra, body, (size_t)n, last_on_connection);
}

void add_stream_head(struct buffer *out, const struct completion *call, bool last_on_connection)
{
    char head[512];
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
        "x-generation-id: %s\r\nx-provider-name: OpenAI\r\ntransfer-encoding: chunked\r\n%s\r\n",
        call->id, last_on_connection ? "connection: close\r\n" : "");
    buffer_add(out, head, (size_t)n);
}

bool frames_are_left(const struct completion *call) { return call->step <= call->plan.chunks + 2; }

/* The usage frame repeats the finish reason of the frame before it, as upstream does since mid-2026. */
void add_frame(struct buffer *out, const struct completion *call)
{
    static const char *const words[] = {"The", " books", " are", " right", " and", " the", " reader", " is"};
    char frame[2048], size[16];
    unsigned step = call->step, chunks = call->plan.chunks;
    int n;
    if (step == chunks + 2) {
        buffer_add(out, "0\r\n\r\n", 5);
        return;
    }
    if (step == chunks + 1)
        n = snprintf(frame, sizeof frame, "data: [DONE]\n\n\r\n");
    else {
        const char *finish = step + 1 >= chunks ? "\"stop\"" : "null";
        n = snprintf(frame, sizeof frame,
            "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%ld,\"model\":\"" MODEL "\","
            "\"provider\":\"OpenAI\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\","
            "\"role\":\"assistant\"},\"finish_reason\":%s,\"native_finish_reason\":%s}]%s}\n\n\r\n",
            call->id, call->created, step + 1 < chunks ? words[step % 8] : "", finish, finish,
            step == chunks ? "," USAGE : "");
    }
    int digits = snprintf(size, sizeof size, "%x\r\n", (unsigned)n - 2);
    buffer_add(out, size, (size_t)digits);
    buffer_add(out, frame, (size_t)n);
}

/* Only what was begun exists, and its record carries the cost that its answer carried. */
void add_generation(struct buffer *out, const char *path, uint64_t begun, bool last_on_connection)
{
    char id[64] = "", body[1024];
    long created = 0;
    uint64_t number = 0;
    const char *query = strstr(path, "id=");
    if (query)
        sscanf(query + 3, "%63[A-Za-z0-9-]", id);
    if (sscanf(id, "gen-%ld-%20" SCNu64, &created, &number) != 2 || number == 0 || number > begun) {
        add_error(out, 404, last_on_connection);
        return;
    }
    snprintf(body, sizeof body,
        "{\"data\":{\"id\":\"%s\",\"total_cost\":0.00014,\"usage\":0.00014,\"model\":\"" MODEL "\","
        "\"provider_name\":\"OpenAI\",\"streamed\":true,\"cancelled\":false,\"is_byok\":false,"
        "\"upstream_inference_cost\":null,\"cache_discount\":null,\"finish_reason\":\"stop\","
        "\"native_finish_reason\":\"stop\",\"tokens_prompt\":80,\"tokens_completion\":60,"
        "\"native_tokens_prompt\":80,\"native_tokens_completion\":60,\"native_tokens_reasoning\":0,"
        "\"native_tokens_cached\":0,\"latency\":1,\"generation_time\":1,\"api_type\":\"completions\"}}", id);
    add_json(out, body, last_on_connection);
}
