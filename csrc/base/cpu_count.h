// How many CPUs this process may keep busy: the affinity mask, cut down to the cgroup's CPU quota.
// Spinning and team sizes depend on it.
#pragma once

#include <string>
#include <string_view>

namespace pelton {

// CPUs of sched_getaffinity, at most the quota of the process's cgroup (v2 cpu.max, v1
// cpu.cfs_quota_us) rounded up, at least 1. Read once, on the first call; thread-safe.
int usable_cpu_count();

// The quota in CPUs, rounded up, that a cgroup v2 `cpu.max` ("200000 100000", "max 100000") states;
// 0 when it states none or cannot be read. Pure.
int cpus_of_quota(std::string_view cpu_max);

// The tightest quota, as above, of the groups that `groups` (the text of /proc/self/cgroup) names,
// from each of them up to the root of the hierarchy at `mount` (/sys/fs/cgroup); 0 when there is
// none.
int cpus_of_cgroup(std::string_view groups, const std::string& mount);

}  // namespace pelton
