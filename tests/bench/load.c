/* Clients that ask without a pause, and what they saw, as one JSON object.
 *
 *     load PORT KEY CONNECTIONS SECONDS PROMPT_BYTES STREAM EVENTS GAP_US
 *
 * Each of CONNECTIONS asks again as soon as it has its answer, for SECONDS. STREAM is 0 or 1; EVENTS and
 * GAP_US are what the engine shall send. Times are microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, READ_BYTES = 1 << 18, STAMP_BYTES = 23, CARRY_BYTES = STAMP_BYTES - 1, WAKES = 512 };

typedef struct {
    double *values;
    size_t count, room;
} Series;

typedef struct {
    int fd, over, answered;
    uint64_t asked_at;
    char head[HEAD_BYTES];
    size_t head_length;
    int in_body, chunked;
    long left;                 /* bytes of a body with a length */
    char carry[CARRY_BYTES];   /* the end of what came before: a stamp or the end may be cut in two */
    size_t carried;
} Client;

static int poller, port;
static char *request;
static size_t request_length;
static uint64_t ends_at;
static int stream, asking;
static long requests, errors, chunks;
static Series latencies, first_bytes, delays;
static char inbox[CARRY_BYTES + READ_BYTES + 1];

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void note(Series *series, uint64_t nanoseconds) {
    if (series->count == series->room) {
        series->room = series->room ? 2 * series->room : 4096;
        series->values = realloc(series->values, series->room * sizeof *series->values);
    }
    series->values[series->count++] = (double)nanoseconds / 1e3;
}

static int compare(const void *one, const void *other) {
    double difference = *(const double *)one - *(const double *)other;
    return (difference > 0) - (difference < 0);
}

static double quantile(Series *series, double share) {
    if (!series->count) return 0;
    qsort(series->values, series->count, sizeof *series->values, compare);
    size_t at = (size_t)((double)series->count * share);
    return series->values[at < series->count ? at : series->count - 1];
}

static void connect_to_router(Client *client) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &wanted);
}

static void ask(Client *client) {
    client->head_length = client->carried = 0;
    client->in_body = client->answered = 0;
    client->asked_at = now();
    for (size_t sent = 0; sent < request_length;) {
        ssize_t count = send(client->fd, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (count < 0) return; /* the end of the connection is read next */
        sent += (size_t)count;
    }
}

static void end(Client *client) {
    close(client->fd);
    client->over = 1;
    asking--;
}

static void finish(Client *client, uint64_t time) {
    requests++;
    note(&latencies, time - client->asked_at);
    if (time < ends_at) {
        ask(client);
    } else {
        end(client);
    }
}

static void lose(Client *client, uint64_t time) {
    errors++;
    if (time < ends_at) {
        close(client->fd);
        connect_to_router(client);
        ask(client);
    } else {
        end(client);
    }
}

/* Take the head's bytes; returns how many of them were the head's, or 0 while it goes on. */
static size_t read_head(Client *client, const char *data, size_t length) {
    size_t before = client->head_length, room = HEAD_BYTES - 1 - before;
    size_t taken = length < room ? length : room;
    memcpy(client->head + before, data, taken);
    client->head_length += taken;
    client->head[client->head_length] = 0;
    char *end = strstr(client->head, "\r\n\r\n");
    if (!end) return 0;
    *end = 0;
    if (client->head_length < 13 || atoi(client->head + 9) != 200) errors++;
    const char *declared = strcasestr(client->head, "\ncontent-length:");
    client->left = declared ? atol(declared + 16) : 0;
    client->chunked = strcasestr(client->head, "\ntransfer-encoding: chunked") != NULL;
    client->in_body = 1;
    return (size_t)(end - client->head) + 4 - before;
}

static void read_stamps(const char *data, size_t length, uint64_t time) {
    const char *end = data + length, *at = data;
    while ((at = memmem(at, (size_t)(end - at), "@TS", 3)) && at + STAMP_BYTES <= end) {
        chunks++;
        note(&delays, time - strtoull(at + 3, NULL, 10));
        at += STAMP_BYTES;
    }
}

/* `data` lies in `inbox`, with room for what was carried before it. */
static int read_body(Client *client, char *data, size_t length, uint64_t time) {
    if (!client->chunked) {
        client->left -= (long)length;
        return client->left <= 0;
    }
    data -= client->carried;
    memcpy(data, client->carry, client->carried);
    length += client->carried;
    char kept = data[length];
    data[length] = 0;
    if (stream) read_stamps(data, length, time);
    data[length] = kept;
    if (length >= 5 && !memcmp(data + length - 5, "0\r\n\r\n", 5)) return 1;
    /* A stamp that was counted must not be carried whole: CARRY_BYTES is less than one. */
    client->carried = length < CARRY_BYTES ? length : CARRY_BYTES;
    memcpy(client->carry, data + length - client->carried, client->carried);
    return 0;
}

static void take(Client *client) {
    char *data = inbox + CARRY_BYTES;
    ssize_t count = recv(client->fd, data, READ_BYTES, MSG_DONTWAIT);
    uint64_t time = now();
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) lose(client, time);
        return;
    }
    size_t length = (size_t)count;
    if (!client->in_body) {
        size_t head = read_head(client, data, length);
        if (!head) return;
        memmove(data, data + head, length - head);
        length -= head;
    }
    if (!length && client->chunked) return;
    if (!client->answered++) note(&first_bytes, time - client->asked_at);
    if (read_body(client, data, length, time)) finish(client, time);
}

static void write_request(const char *key, long prompt, long events, long gap) {
    char *body = malloc((size_t)prompt + 512);
    int length = sprintf(body, "{\"model\":\"m\",%s\"messages\":[{\"role\":\"user\",\"content\":\"@events=%ld @gap=%ld ",
                         stream ? "\"stream\":true," : "\"logprobs\":true,", events, gap);
    memset(body + length, 'a', (size_t)prompt);
    length += (int)prompt;
    length += sprintf(body + length, "\"}],\"max_tokens\":64}");
    request = malloc((size_t)length + 512);
    request_length = (size_t)sprintf(request,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer %s\r\nAccept: */*\r\nUser-Agent: load/1\r\nContent-Length: %d\r\n\r\n%s",
        key, length, body);
}

int main(int count, char **words) {
    if (count != 9) return fputs("usage: load PORT KEY CONNECTIONS SECONDS PROMPT STREAM EVENTS GAP_US\n", stderr), 2;
    int connections = atoi(words[3]);
    double seconds = atof(words[4]);
    port = atoi(words[1]);
    stream = atoi(words[6]);
    write_request(words[2], atol(words[5]), atol(words[7]), atol(words[8]));
    poller = epoll_create1(EPOLL_CLOEXEC);
    Client *clients = calloc((size_t)connections, sizeof *clients);
    asking = connections;
    for (int at = 0; at < connections; at++) connect_to_router(clients + at);
    uint64_t began = now(), gives_up_at = began + (uint64_t)((seconds + 20) * 1e9);
    ends_at = began + (uint64_t)(seconds * 1e9);
    for (int at = 0; at < connections; at++) ask(clients + at);
    while (asking && now() < gives_up_at) {
        struct epoll_event wakes[WAKES];
        int woken = epoll_wait(poller, wakes, WAKES, 100);
        for (int at = 0; at < woken; at++)
            if (!((Client *)wakes[at].data.ptr)->over) take(wakes[at].data.ptr);
    }
    errors += asking; /* those that wait for an answer that does not come */
    printf("{\"requests\":%ld,\"errors\":%ld,\"chunks\":%ld,\"seconds\":%.3f,\"latency_p50_us\":%.1f,"
           "\"latency_p99_us\":%.1f,\"first_byte_p50_us\":%.1f,\"first_byte_p99_us\":%.1f,\"delay_p50_us\":%.1f,"
           "\"delay_p99_us\":%.1f}\n",
           requests, errors, chunks, (double)(now() - began) / 1e9, quantile(&latencies, .5),
           quantile(&latencies, .99), quantile(&first_bytes, .5), quantile(&first_bytes, .99),
           quantile(&delays, .5), quantile(&delays, .99));
    return 0;
}
