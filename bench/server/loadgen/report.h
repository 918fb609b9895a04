// The results as one JSON document on stdout.
#pragma once

#include "bench/server/loadgen/histogram.h"
#include "bench/server/loadgen/load.h"

namespace pelton::bench {

// {"count": …, "mean_us": …, "p50_us": …, …, "histogram": [[index, count], …]}
void print_latencies(const Histogram& latencies);

void print_report(const LoadOptions& options, const LoadReport& report);

}  // namespace pelton::bench
