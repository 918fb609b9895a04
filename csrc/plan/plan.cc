#include "csrc/plan/plan.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <limits>

#include "csrc/plan/plan_parser.h"

namespace pelton {
namespace {

class FileDescriptor {
 public:
  explicit FileDescriptor(int number) : number_(number) {}
  ~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int number() const { return number_; }

 private:
  const int number_;
};

Status not_found(const std::string& why) { return Status(StatusCode::kNotFound, why); }

Status with_path(const std::string& path, const Status& status) {
  return Status(status.code(), "plan '" + path + "': " + std::string(status.message()));
}

}  // namespace

// O_NONBLOCK: opening a named pipe must not wait for its writer.
Status Plan::map(const std::string& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) return not_found(std::string("cannot be opened: ") + std::strerror(errno));
  struct stat facts;
  if (::fstat(file.number(), &facts) != 0) return not_found(std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) return not_found("expected a regular file");
  if (facts.st_size == 0) return corrupt_plan("file size: expected at least 128, got 0");
  const auto bytes = static_cast<uint64_t>(facts.st_size);
  void* mapping = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.number(), 0);
  if (mapping == MAP_FAILED) {
    return Status(StatusCode::kOutOfMemory,
                  "cannot map " + std::to_string(bytes) + " bytes: " + std::strerror(errno));
  }
  mapping_ = static_cast<const std::byte*>(mapping);
  file_bytes_ = bytes;
  path_ = path;
  return {};
}

Result<std::shared_ptr<const Plan>> Plan::open(const std::string& path,
                                               const OpenOptions& options) {
  std::shared_ptr<Plan> plan(new Plan());
  Status status = plan->map(path);
  if (status.ok()) status = PlanParser(plan.get()).parse();
  if (status.ok()) status = PlanParser::verify_weights(*plan, options.verify_weights_bytes_max);
  if (!status.ok()) return with_path(path, status);
  return std::shared_ptr<const Plan>(std::move(plan));
}

Status Plan::verify_weights() const {
  const Status status = PlanParser::verify_weights(*this, std::numeric_limits<uint64_t>::max());
  return status.ok() ? status : with_path(path_, status);
}

Plan::~Plan() {
  if (mapping_ != nullptr) ::munmap(const_cast<std::byte*>(mapping_), file_bytes_);
}

}  // namespace pelton
