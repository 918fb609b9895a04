// Load on one HTTP server, from one thread and one epoll.
//
// Closed loop: every connection has one request in flight and sends the next when it is answered.
// Open loop: request k is due at begin + k / rate, whatever the server does. Latencies count from
// that moment, not from when a connection was free to send it, so that a server that stalls is
// charged with all that it made wait (no coordinated omission). Nothing is queued: what is due and
// not sent is known from the schedule alone, so memory does not grow.
#pragma once

#include <netinet/in.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/server/loadgen/histogram.h"
#include "csrc/base/status.h"

namespace pelton::bench {

struct LoadOptions {
  sockaddr_in address = {};
  std::vector<std::string> requests;  // raw bytes of each, sent in turns
  int connections = 1;
  double seconds = 1;
  double rate = 0;                      // requests per second of the open loop; 0: closed loop
  int64_t count_max = INT64_MAX;        // requests started at most
  double drain_seconds = 5;             // longest wait for the last answers
  int64_t reconnect_every = 0;          // answers after which a connection is made anew; 0: never
  int64_t cancel_every = 0;             // every so many requests the client leaves; 0: never
  int64_t cancel_delay_ns = 1'000'000;  // how long a client stays that leaves late
  int64_t window_ns = 0;                // length of the windows that are reported; 0: none
};

struct Window {
  int64_t answered = 0;  // with status 200, in this window
  int64_t failed = 0;    // of the requests due in this window
  Histogram latencies;   // of the requests due in this window
};

// Every request that was started is in exactly one of answered, cancelled, lost, unanswered and
// malformed; due and never started are `unsent`.
struct LoadReport {
  int64_t begin_ns = 0;
  double seconds = 0;  // until the last answer
  double client_cpu_seconds = 0;
  int64_t started = 0;
  int64_t sent = 0;  // of those, written whole
  int64_t answered = 0;
  int64_t ok = 0;  // answered with status 200
  int64_t cancelled = 0;
  int64_t lost = 0;         // the server closed the connection before the answer
  int64_t unanswered = 0;   // at the end
  int64_t malformed = 0;    // the answer was no HTTP that this client reads
  int64_t unsolicited = 0;  // bytes came where no request was in flight
  int64_t unsent = 0;
  int64_t connect_failures = 0;
  int64_t connects = 0;
  std::array<int64_t, 600> statuses = {};
  // Of status 200; in the open loop also those refused, lost, unanswered or unsent, as if answered
  // at the end: a server that turns requests away is not the faster for it.
  Histogram latencies;
  std::vector<Window> windows;
  std::string first_error;
};

// Set by a signal handler: the run ends as if its time were over.
extern std::atomic<bool> stop_requested;

// An error where no connection can be made at the start, or the descriptors do not suffice.
Result<LoadReport> run_load(const LoadOptions& options);

}  // namespace pelton::bench
