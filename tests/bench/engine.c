/* A llama-server that answers at once, or paces a stream: only the router in front of it is measured.
 *
 *     engine --host PATH.sock|ADDRESS [--port PORT] [whatever else a llama-server takes]
 *
 * A request whose body holds `"stream":true` gets events of about 200 bytes, 64 of them unless its body says
 * `@events=N`, and `@gap=MICROSECONDS` between two of them. Each event carries the monotonic time in
 * nanoseconds at which it was written. Every other POST gets one JSON answer, every GET a status that llama-server's,
 * vLLM's and SGLang's supervisors take for theirs. A peer that does not read stops its own stream, not the others.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* What a llama-server reports at the end of every answer. */
#define FIGURES "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":50},\"timings\":{\"cache_n\":60," \
                "\"prompt_n\":40,\"prompt_ms\":8.5,\"predicted_n\":50,\"predicted_ms\":100.5}"

enum { EVENT_BYTES = 200, DEFAULT_EVENTS = 64, FIRST_INBOX = 4096, WAKES = 256, OUTBOX = 1024 };

typedef struct Peer {
    int fd;
    int position;          /* in the heap of paced streams; -1: not there */
    char *inbox;
    size_t length, room;
    long events_left;      /* of the stream that is being sent; -1: none is */
    uint64_t gap, due;     /* nanoseconds */
    char outbox[OUTBOX];   /* what the socket had no room for */
    size_t unsent;
    int watches_room;
} Peer;

static int poller;
static Peer **paced;
static int paced_count, paced_room;

static const char *HELP =
    "usage: llama-server [options]\n"
    "-m,    --model FNAME      model path to load\n"
    "-a,    --alias STRING     set alias for model name\n"
    "-np,   --parallel N       number of server slots\n"
    "-c,    --ctx-size N       size of the prompt context\n"
    "-t,    --threads N        number of threads\n"
    "-cram, --cache-ram N      host memory for prompts\n"
    "--host HOST               IP addresses to listen on, or UNIX socket paths ending in .sock\n"
    "--port PORT               port to listen\n"
    "--api-key-file FNAME      path to file containing API keys\n"
    "--metrics                 enable prometheus compatible metrics endpoint\n"
    "--slots                   expose slots monitoring endpoint\n";

static const char *STATUS =
    "{\"status\":\"ok\",\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}],\"model_path\":\"m\","
    "\"served_model_name\":\"m\",\"model_id\":\"m\",\"total_slots\":256}";

static char answer[2048];
static size_t answer_length;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The heap: the stream whose next event is due first stands at 0. */

static void place(int at, Peer *peer) {
    paced[at] = peer;
    peer->position = at;
}

static void settle(int at) {
    Peer *peer = paced[at];
    while (at > 0 && paced[(at - 1) / 2]->due > peer->due) {
        place(at, paced[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (int child; (child = 2 * at + 1) < paced_count; at = child) {
        if (child + 1 < paced_count && paced[child + 1]->due < paced[child]->due) child++;
        if (paced[child]->due >= peer->due) break;
        place(at, paced[child]);
    }
    place(at, peer);
}

static void pace(Peer *peer) {
    if (peer->position < 0) {
        if (paced_count == paced_room) {
            paced_room = paced_room ? 2 * paced_room : 64;
            paced = realloc(paced, (size_t)paced_room * sizeof *paced);
        }
        place(paced_count++, peer);
    }
    settle(peer->position);
}

static void unpace(Peer *peer) {
    int at = peer->position;
    if (at < 0) return;
    peer->position = -1;
    if (at != --paced_count) {
        place(at, paced[paced_count]);
        settle(at);
    }
}

static void part(Peer *peer) {
    unpace(peer);
    close(peer->fd);
    free(peer->inbox);
    free(peer);
}

static void watch_room(Peer *peer, int wanted) {
    if (peer->watches_room == wanted) return;
    peer->watches_room = wanted;
    struct epoll_event change = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = peer};
    epoll_ctl(poller, EPOLL_CTL_MOD, peer->fd, &change);
}

/* Send, and keep what the socket has no room for; 0 when the peer has gone. */
static int say(Peer *peer, const char *text, size_t length) {
    ssize_t sent = peer->unsent ? 0 : send(peer->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        if (errno != EAGAIN) return 0;
        sent = 0;
    }
    size_t left = length - (size_t)sent;
    if (left > OUTBOX - peer->unsent) return 0;
    memcpy(peer->outbox + peer->unsent, text + sent, left);
    peer->unsent += left;
    watch_room(peer, peer->unsent > 0);
    return 1;
}

static int say_event(Peer *peer) {
    char event[EVENT_BYTES + 32], text[EVENT_BYTES + 1];
    int length = snprintf(text, sizeof text,
                          "data: {\"id\":\"chatcmpl-abc\",\"object\":\"chat.completion.chunk\",\"model\":\"m\","
                          "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"@TS%020llu tok%06ld\"}}],"
                          "\"system_fingerprint\":\"",
                          (unsigned long long)now(), peer->events_left);
    memset(text + length, 'x', (size_t)(EVENT_BYTES - 4 - length));
    memcpy(text + EVENT_BYTES - 4, "\"}\n\n", 4);
    length = snprintf(event, sizeof event, "%x\r\n%.*s\r\n", EVENT_BYTES, EVENT_BYTES, text);
    return say(peer, event, (size_t)length);
}

/* Send the next event, and the end after the last; 0 when the peer has gone. */
static int advance(Peer *peer) {
    static const char last[] = "a8\r\ndata: {\"choices\":[]," FIGURES "}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    if (peer->events_left > 0) {
        if (!say_event(peer)) return 0;
        if (--peer->events_left > 0) return 1;
    }
    peer->events_left = -1;
    return say(peer, last, sizeof last - 1);
}

static long figure(const char *body, size_t length, const char *name, long otherwise) {
    const char *found = memmem(body, length, name, strlen(name));
    return found ? atol(found + strlen(name)) : otherwise;
}

static int begin_stream(Peer *peer, const char *body, size_t length) {
    static const char head[] = "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    peer->events_left = figure(body, length, "@events=", DEFAULT_EVENTS);
    peer->gap = (uint64_t)figure(body, length, "@gap=", 0) * 1000;
    if (!say(peer, head, sizeof head - 1)) return 0;
    if (peer->gap) { /* each begins at a time of its own, so that streams do not go in step */
        peer->due = now() + peer->gap * (uint64_t)(rand() % 1000) / 1000;
        pace(peer);
        return 1;
    }
    while (peer->events_left >= 0 && !peer->unsent)
        if (!advance(peer)) return 0;
    return 1;
}

static int reply(Peer *peer, const char *head, const char *body, size_t length) {
    char text[512];
    int refused = !strncmp(head, "GET /props", 10) && !strcasestr(head, "\nauthorization:");
    if (strncmp(head, "GET", 3)) {
        if (memmem(body, length, "\"stream\":true", 13)) return begin_stream(peer, body, length);
        return say(peer, answer, answer_length);
    }
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nServer: llama.cpp\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n%s", refused ? "401 Unauthorized" : "200 OK",
                        refused ? (size_t)2 : strlen(STATUS), refused ? "{}" : STATUS);
    return say(peer, text, (size_t)size);
}

/* Answer every request that has arrived whole; 0 when the peer has gone. */
static int serve(Peer *peer) {
    while (peer->events_left < 0 && !peer->unsent) {
        peer->inbox[peer->length] = 0;
        char *end = memmem(peer->inbox, peer->length, "\r\n\r\n", 4);
        if (!end) return 1;
        size_t head = (size_t)(end - peer->inbox) + 4, body = 0, whole;
        *end = 0;
        const char *declared = strcasestr(peer->inbox, "\ncontent-length:");
        if (declared) body = (size_t)atol(declared + 16);
        if (strcasestr(peer->inbox, "\ntransfer-encoding: chunked")) {
            char *last = memmem(peer->inbox + head, peer->length - head, "0\r\n\r\n", 5);
            body = last ? (size_t)(last + 5 - peer->inbox) - head : peer->room;
        }
        whole = head + body;
        if (peer->length < whole) {
            *end = '\r';
            return 1;
        }
        if (!reply(peer, peer->inbox, peer->inbox + head, body)) return 0;
        memmove(peer->inbox, peer->inbox + whole, peer->length - whole);
        peer->length -= whole;
    }
    return 1;
}

static int receive(Peer *peer) {
    if (peer->length == peer->room) {
        peer->room *= 2;
        peer->inbox = realloc(peer->inbox, peer->room + 1);
    }
    ssize_t count = recv(peer->fd, peer->inbox + peer->length, peer->room - peer->length, MSG_DONTWAIT);
    if (count < 0) return errno == EAGAIN;
    if (count == 0) return 0;
    peer->length += (size_t)count;
    return serve(peer);
}

/* The socket has room again: send what was kept, then go on; 0 when the peer has gone. */
static int resume(Peer *peer) {
    ssize_t sent = send(peer->fd, peer->outbox, peer->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN;
    peer->unsent -= (size_t)sent;
    memmove(peer->outbox, peer->outbox + sent, peer->unsent);
    watch_room(peer, peer->unsent > 0);
    while (!peer->gap && peer->events_left >= 0 && !peer->unsent)
        if (!advance(peer)) return 0;
    return serve(peer);
}

static void welcome(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        Peer *peer = calloc(1, sizeof *peer);
        *peer = (Peer){.fd = fd, .position = -1, .room = FIRST_INBOX, .events_left = -1};
        peer->inbox = malloc(peer->room + 1);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = peer};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
    }
}

static void send_due_events(void) {
    uint64_t time = now();
    while (paced_count && paced[0]->due <= time) {
        Peer *peer = paced[0];
        peer->due += peer->gap;
        if (!peer->unsent && !advance(peer)) {
            part(peer);
        } else if (peer->events_left >= 0) {
            settle(0);
        } else {
            unpace(peer);
            if (!serve(peer)) part(peer);
        }
    }
}

static int until_due(void) {
    if (!paced_count) return -1;
    uint64_t time = now();
    return paced[0]->due <= time ? 0 : (int)((paced[0]->due - time + 999999) / 1000000);
}

static int listen_at(const char *host, int port) {
    size_t length = strlen(host);
    int unix_path = length > 5 && !strcmp(host + length - 5, ".sock"), yes = 1;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (unix_path) {
        snprintf(path.sun_path, sizeof path.sun_path, "%s", host);
        unlink(host);
        if (bind(fd, (struct sockaddr *)&path, sizeof path)) return -1;
    } else {
        inet_pton(AF_INET, host, &address.sin_addr);
        if (bind(fd, (struct sockaddr *)&address, sizeof address)) return -1;
    }
    return listen(fd, 4096) ? -1 : fd;
}

static void make_answer(void) {
    char body[1024];
    int length = snprintf(body, sizeof body, "{\"id\":\"chatcmpl-abc\",\"object\":\"chat.completion\",\"model\":\"m\","
                          "\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\","
                          "\"content\":\"");
    for (int word = 0; word < 70; word++) length += sprintf(body + length, "hello ");
    length += sprintf(body + length, "\"}}]," FIGURES "}");
    answer_length = (size_t)sprintf(answer, "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; "
                                    "charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", length, body);
}

int main(int count, char **words) {
    const char *host = "127.0.0.1";
    int port = 0;
    for (int at = 1; at < count; at++) {
        if (!strcmp(words[at], "--version")) return puts("version: 0.6.0-bench (build 0, commit unknown)") < 0;
        if (!strcmp(words[at], "--help")) return fputs(HELP, stdout) < 0;
        if (!strcmp(words[at], "--list-devices")) return puts("Available devices:") < 0;
        if (at + 1 < count && !strcmp(words[at], "--host")) host = words[at + 1];
        if (at + 1 < count && !strcmp(words[at], "--port")) port = atoi(words[at + 1]);
    }
    make_answer();
    int listener = listen_at(host, port);
    if (listener < 0) return perror(host), 1;
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event wanted = {.events = EPOLLIN}, wakes[WAKES];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    for (;;) {
        int woken = epoll_wait(poller, wakes, WAKES, until_due());
        for (int at = 0; at < woken; at++) {
            Peer *peer = wakes[at].data.ptr;
            if (!peer) {
                welcome(listener);
            } else if ((wakes[at].events & EPOLLOUT && peer->unsent && !resume(peer)) ||
                       (wakes[at].events & ~(uint32_t)EPOLLOUT && !receive(peer))) {
                part(peer);
            }
        }
        send_due_events();
    }
}
