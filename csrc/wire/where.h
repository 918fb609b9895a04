// Where: the place of a value in a request, for the texts of problems. The twin of `Where` in
// pyserver/pelton/codec/_checks.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "csrc/base/problem.h"

namespace pelton {

// A step from the place before it; costs nothing until a problem is made. Each place points to the
// one that it was made from, which must outlive it.
class Where {
 public:
  // The body itself, of the input `tensor` where there is but one.
  Where() = default;
  static Where body(std::string_view tensor) {
    Where where;
    where.tensor_ = tensor;
    return where;
  }

  Where at(std::string_view member) const {
    Where where(this);
    where.step_ = Step::kMember;
    where.member_ = member;
    return where;
  }
  Where item(int64_t index) const {
    Where where(this);
    where.step_ = Step::kItem;
    where.index_ = index;
    return where;
  }
  // The same place, of the tensor of that name.
  Where named(std::string_view tensor) const {
    Where where(this);
    where.tensor_ = tensor;
    return where;
  }

  // Its path, such as "inputs[0].shape"; empty for the body.
  std::string field() const;

  // kInvalidInput: what was expected here and what came.
  ProblemPtr bad(std::string_view expected, std::string_view got,
                 std::optional<int64_t> offset = std::nullopt) const;
  // kInvalidInput: understood but not allowed.
  ProblemPtr refused(std::string_view reason) const;

 private:
  enum class Step : uint8_t { kNone, kMember, kItem };

  explicit Where(const Where* parent) : parent_(parent) {}
  void append_field(std::string& out) const;
  std::optional<std::string_view> tensor() const;
  ProblemPtr problem(std::string_view text) const;

  const Where* parent_ = nullptr;
  Step step_ = Step::kNone;
  std::string_view member_;
  int64_t index_ = 0;
  std::optional<std::string_view> tensor_;
};

}  // namespace pelton
