// Status and Result<T>: failures as values. A Status is ok or a code with a message that says what
// was expected and what came. The ok path allocates nothing. Values; thread-compatible.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "csrc/base/check.h"

namespace pelton {

// The numbers cross the language border (pyserver/pelton/bridge maps each to one exception): never
// reuse one.
enum class StatusCode : int {
  kOk = 0,
  kInvalidArgument = 1,
  kNotFound = 2,
  kQueueFull = 3,
  kDeadlineExceeded = 4,
  kCancelled = 5,
  kUnavailable = 6,
  kCorruptPlan = 7,
  kUnsupported = 8,
  kOutOfMemory = 9,
  kInternal = 10,
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message)
      : failure_(std::make_unique<Failure>(Failure{code, std::move(message)})) {}
  Status(const Status& other)
      : failure_(other.failure_ ? std::make_unique<Failure>(*other.failure_) : nullptr) {}
  Status(Status&&) noexcept = default;
  Status& operator=(const Status& other) {
    failure_ = other.failure_ ? std::make_unique<Failure>(*other.failure_) : nullptr;
    return *this;
  }
  Status& operator=(Status&&) noexcept = default;

  bool ok() const { return failure_ == nullptr; }
  StatusCode code() const { return failure_ ? failure_->code : StatusCode::kOk; }
  std::string_view message() const {
    return failure_ ? std::string_view(failure_->message) : std::string_view();
  }

 private:
  struct Failure {
    StatusCode code;
    std::string message;
  };
  std::unique_ptr<Failure> failure_;
};

inline Status invalid_argument(std::string message) {
  return Status(StatusCode::kInvalidArgument, std::move(message));
}
inline Status corrupt_plan(std::string message) {
  return Status(StatusCode::kCorruptPlan, std::move(message));
}
inline Status internal_error(std::string message) {
  return Status(StatusCode::kInternal, std::move(message));
}

// Either a T or a Status that is not ok.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    PELTON_CHECK(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  // REQUIRES: ok().
  T& value() & {
    PELTON_CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    PELTON_CHECK(ok());
    return *value_;
  }
  T&& value() && {
    PELTON_CHECK(ok());
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
  Status status_;
};

#define PELTON_RETURN_IF_ERROR(expression)           \
  do {                                               \
    ::pelton::Status status_of_call = (expression);  \
    if (!status_of_call.ok()) return status_of_call; \
  } while (false)

}  // namespace pelton
