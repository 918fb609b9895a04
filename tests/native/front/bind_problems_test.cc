#include "csrc/front/bind_problems.h"

#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(names_are_quoted_as_python_does) {
  EXPECT_EQ(wrong_input("it's", "a", "b")->message, "input \"it's\": expected a, got b");
  EXPECT_EQ(refused_input("a\n", "no", "b")->message, "input 'a\\n': no");
}

TEST(shapes_are_pythons_lists) {
  EXPECT_EQ(shape_text({}), "[]");
  const int64_t dims[] = {-1, 2, 3};
  EXPECT_EQ(shape_text(dims), "[-1, 2, 3]");
  EXPECT_EQ(place_text(4, 0), "[4, 0]");
}

}  // namespace
}  // namespace pelton
