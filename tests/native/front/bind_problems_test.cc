#include "csrc/front/bind_problems.h"

#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(repr_is_pythons) {
  EXPECT_EQ(python_repr("x"), "'x'");
  EXPECT_EQ(python_repr(""), "''");
  EXPECT_EQ(python_repr("a'b"), "\"a'b\"");
  EXPECT_EQ(python_repr("a\"b"), "'a\"b'");
  EXPECT_EQ(python_repr("a'\"b"), "'a\\'\"b'");
  EXPECT_EQ(python_repr("a\\\n\r\t"), "'a\\\\\\n\\r\\t'");
  EXPECT_EQ(python_repr(std::string_view("\0\x01\x7f", 3)), "'\\x00\\x01\\x7f'");
  EXPECT_EQ(python_repr("n\u00e4\u20ac\U0001f600"), "'n\u00e4\u20ac\U0001f600'");
  EXPECT_EQ(python_repr("\u00a0\u200b\U000e0001"), "'\\xa0\\u200b\\U000e0001'");
}

TEST(shapes_are_pythons_lists) {
  EXPECT_EQ(shape_text({}), "[]");
  const int64_t dims[] = {-1, 2, 3};
  EXPECT_EQ(shape_text(dims), "[-1, 2, 3]");
  EXPECT_EQ(place_text(4, 0), "[4, 0]");
}

}  // namespace
}  // namespace pelton
