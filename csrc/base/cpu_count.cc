#include "csrc/base/cpu_count.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>

namespace pelton {
namespace {

// The file's first bytes; empty when it cannot be read. The kernel's files that are read here are
// short lines, except /proc/self/cgroup, of which 4 KiB hold every controller.
std::string read_file(const std::string& path) {
  std::string text(4096, '\0');
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return {};
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

int affinity_cpus() {
  // A mask for 8192 CPUs, the largest that Linux builds for x86-64 take.
  constexpr size_t kCpusMax = 8192;
  unsigned long mask[kCpusMax / (8 * sizeof(unsigned long))] = {};
  auto* set = reinterpret_cast<cpu_set_t*>(mask);
  if (sched_getaffinity(0, sizeof(mask), set) != 0) return 0;
  return CPU_COUNT_S(sizeof(mask), set);
}

// The path of this process in the hierarchy whose line of /proc/self/cgroup names `controller` (""
// for v2).
std::string cgroup_path(std::string_view lines, std::string_view controller) {
  const std::string wanted = "," + std::string(controller) + ",";
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    const size_t first = line.find(':');
    const size_t second = first == line.npos ? first : line.find(':', first + 1);
    if (second == line.npos) continue;
    // The list of version 2 is empty: ",,".
    const std::string names = "," + std::string(line.substr(first + 1, second - first - 1)) + ",";
    if (names.find(wanted) != names.npos) return std::string(line.substr(second + 1));
  }
  return {};
}

// The smaller of two limits of which 0 means none.
int tighter(int a, int b) {
  if (a == 0 || b == 0) return std::max(a, b);
  return std::min(a, b);
}

// The tightest quota of the groups from `path` up to the mounted root: a container sees its own
// group as the root, a process of a slice is held by any group above it.
template <typename ReadQuota>
int tightest_quota(std::string path, const ReadQuota& read_quota) {
  constexpr int kDepthMax = 64;
  int cpus = 0;
  for (int depth = 0; depth < kDepthMax; ++depth) {
    cpus = tighter(cpus, read_quota(path));
    const size_t parent = path.find_last_of('/');
    if (parent == path.npos || path == "/") break;
    path.resize(parent);
  }
  return cpus;
}

}  // namespace

int cpus_of_cgroup(std::string_view groups, const std::string& mount) {
  const int v2 = tightest_quota(cgroup_path(groups, ""), [&](const std::string& path) {
    return cpus_of_quota(read_file(mount + path + "/cpu.max"));
  });
  const int v1 = tightest_quota(cgroup_path(groups, "cpu"), [&](const std::string& path) {
    const std::string folder = mount + "/cpu" + path;
    const std::string quota = read_file(folder + "/cpu.cfs_quota_us");
    return cpus_of_quota(quota + " " + read_file(folder + "/cpu.cfs_period_us"));
  });
  return tighter(v2, v1);
}

int cpus_of_quota(std::string_view cpu_max) {
  const auto next_number = [&cpu_max](int64_t& value) {
    const size_t start = cpu_max.find_first_not_of(" \n");
    if (start == cpu_max.npos) return false;
    cpu_max.remove_prefix(start);
    const auto [end, error] =
        std::from_chars(cpu_max.data(), cpu_max.data() + cpu_max.size(), value);
    if (error != std::errc()) return false;
    cpu_max.remove_prefix(static_cast<size_t>(end - cpu_max.data()));
    return true;
  };
  int64_t quota_us = 0;
  int64_t period_us = 0;
  if (!next_number(quota_us) || !next_number(period_us)) return 0;
  if (quota_us <= 0 || period_us <= 0) return 0;
  constexpr int64_t kCpusMax = 1 << 20;
  return static_cast<int>(std::min(kCpusMax, (quota_us - 1) / period_us + 1));
}

int usable_cpu_count() {
  static const int count = std::max(
      1,
      tighter(affinity_cpus(), cpus_of_cgroup(read_file("/proc/self/cgroup"), "/sys/fs/cgroup")));
  return count;
}

}  // namespace pelton
