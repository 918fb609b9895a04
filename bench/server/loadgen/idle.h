// Connections that do nothing, to see what they cost a server.
#pragma once

#include <netinet/in.h>

#include <string>

#include "csrc/base/status.h"

namespace pelton::bench {

struct IdleOptions {
  sockaddr_in address = {};
  int connections = 1;
  std::string request;  // sent once on each before it falls idle; empty: nothing is sent
};

// Opens the connections, prints {"open": N}, keeps them until stdin ends or a signal comes, prints
// {"closed_by_server": N}. An error where one cannot be opened, or its request is not answered.
Status run_idle(const IdleOptions& options);

}  // namespace pelton::bench
