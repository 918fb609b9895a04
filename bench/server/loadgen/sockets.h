// Sockets of the load generator: an address, connections to it, and enough descriptors for them.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

#include "csrc/base/status.h"

namespace pelton::bench {

// CLOCK_MONOTONIC, which Python's time.monotonic_ns() also reads.
int64_t now_ns();

// An IPv4 address in digits, and a port.
Result<sockaddr_in> parse_address(const std::string& host, int port);

// A socket that does not block, connecting to the address or connected to it already. The errno of
// a failure as a negative number. The caller closes it.
int begin_connect(const sockaddr_in& address);

// A connected socket that does not block; waits at most ten seconds.
Result<int> connect_now(const sockaddr_in& address);

// Raises the soft limit of open files to `count` and a few more; an error where the hard one is
// lower.
Status allow_descriptors(int count);

}  // namespace pelton::bench
