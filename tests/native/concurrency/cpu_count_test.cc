#include "csrc/base/cpu_count.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(cpu_quota_is_rounded_up) {
  EXPECT_EQ(cpus_of_quota("max 100000\n"), 0);
  EXPECT_EQ(cpus_of_quota("200000 100000\n"), 2);
  EXPECT_EQ(cpus_of_quota("150000 100000"), 2);
  EXPECT_EQ(cpus_of_quota("1000 100000"), 1);
  EXPECT_EQ(cpus_of_quota("-1\n 100000\n"), 0);
  EXPECT_EQ(cpus_of_quota(""), 0);
  EXPECT_EQ(cpus_of_quota("100000"), 0);
  EXPECT_EQ(cpus_of_quota("100000 0"), 0);
  EXPECT_EQ(cpus_of_quota("9000000000000000000 1"), 1 << 20);
  EXPECT(usable_cpu_count() >= 1);
}

// A copy of the kernel's files in a folder of its own.
struct FakeMount {
  FakeMount() {
    std::string pattern = std::filesystem::temp_directory_path() / "pelton-cgroup-XXXXXX";
    root = mkdtemp(pattern.data());
  }
  ~FakeMount() { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root;
};

TEST(cpu_quota_of_the_tightest_group_holds) {
  FakeMount mount;
  const std::string v2 = "0::/slice/service\n";
  EXPECT_EQ(cpus_of_cgroup(v2, mount.root), 0);
  mount.write("/cpu.max", "max 100000\n");
  mount.write("/slice/cpu.max", "300000 100000\n");
  mount.write("/slice/service/cpu.max", "max 100000\n");
  EXPECT_EQ(cpus_of_cgroup(v2, mount.root), 3);
  mount.write("/slice/service/cpu.max", "150000 100000\n");
  EXPECT_EQ(cpus_of_cgroup(v2, mount.root), 2);
  // In a container the path may be the host's, which is not there: the root is the container's own
  // group.
  mount.write("/cpu.max", "100000 100000\n");
  EXPECT_EQ(cpus_of_cgroup("0::/docker/0123\n", mount.root), 1);
  EXPECT_EQ(cpus_of_cgroup("0::/\n", mount.root), 1);
}

TEST(cpu_quota_of_version_1) {
  FakeMount mount;
  const std::string groups = "9:cpuset:/other\n4:cpu,cpuacct:/box\n1:name=systemd:/\n0::/box\n";
  EXPECT_EQ(cpus_of_cgroup(groups, mount.root), 0);
  mount.write("/cpu/box/cpu.cfs_quota_us", "-1\n");
  mount.write("/cpu/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus_of_cgroup(groups, mount.root), 0);
  mount.write("/cpu/box/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(cpus_of_cgroup(groups, mount.root), 3);
  EXPECT_EQ(cpus_of_cgroup("not a cgroup file", mount.root), 0);
  EXPECT_EQ(cpus_of_cgroup("4:cpu:no-slash", mount.root), 0);
  EXPECT_EQ(cpus_of_cgroup("", mount.root), 0);
}

}  // namespace
}  // namespace pelton
