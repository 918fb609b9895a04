// The native tests' own framework. One binary per folder of tests/native, each linked with main.cc:
//
//   TEST(ring_full_is_refused) {
//     EXPECT_EQ(ring.size(), 4);
//     EXPECT(ring.try_push(5) == false);
//     EXPECT_NEAR(mean, 0.5, 1e-6);
//     EXPECT_OK(ring.close());
//     ASSERT(ring.empty());
//     if (!cpu_has_avx2) SKIP("this CPU has no AVX2");
//   }
//
// EXPECT_EQ takes any types that compare with == and prints both sides. EXPECT_NEAR's tolerance is
// absolute; NaN is near nothing. EXPECT_OK takes a Status or a Result and prints its message. A
// failed EXPECT is reported with file, line and values, and the test goes on; ASSERT leaves the
// test, and stands only in the body of a TEST.
//
// Randomness comes from testing::seed() (--seed N, printed at the start), so that a failure can be
// replayed.
//
// Thread-safety: EXPECT* may be used from any thread that ends before its TEST does; ASSERT, SKIP
// and testing::note only from the thread that runs the TEST.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace testing {

using Body = void (*)();

// What TEST leaves in the list that main.cc walks. `name` lives as long as the process.
struct Registration {
  Registration(const char* name, const char* file, int line, Body body);
};

// The run's seed: --seed N, else 1.
uint64_t seed();
// Records a failure of the running test and prints it as `file:line: text`.
void fail(const char* file, int line, const std::string& text);
// Marks the running test as skipped, with the reason that is printed.
void skip(const std::string& why);
// Prints a line that belongs to the running test, e.g. the variant it ran.
void note(const std::string& text);

template <typename T>
concept Streamable = requires(std::ostream& out, const T& value) { out << value; };
template <typename T>
concept Textual = std::convertible_to<const T&, std::string_view>;
// The types std::cmp_equal takes: integers, but neither characters nor bool.
template <typename T>
concept Number = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char> &&
                 !std::same_as<T, wchar_t> && !std::same_as<T, char8_t> &&
                 !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;

template <typename T>
std::string show(const T& value) {
  std::ostringstream out;
  out.precision(17);
  if constexpr (std::same_as<T, bool>) {
    out << (value ? "true" : "false");
  } else if constexpr (std::same_as<T, std::nullptr_t>) {
    out << "nullptr";
  } else if constexpr (std::is_enum_v<T>) {
    out << +static_cast<std::underlying_type_t<T>>(value);
  } else if constexpr (std::is_arithmetic_v<T>) {
    out << +value;
  } else if constexpr (Textual<T>) {
    out << '"' << std::string_view(value) << '"';
  } else if constexpr (Streamable<T>) {
    out << value;
  } else if constexpr (requires { std::begin(value), std::end(value); }) {
    out << '[';
    const char* separator = "";
    for (const auto& element : value) {
      out << separator << show(element);
      separator = ", ";
    }
    out << ']';
  } else {
    out << '<' << sizeof(T) << " bytes>";
  }
  return out.str();
}

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (Number<A> && Number<B>) {
    return std::cmp_equal(a, b);
  } else if constexpr (Textual<A> && Textual<B>) {
    return std::string_view(a) == std::string_view(b);
  } else {
    return a == b;
  }
}

struct Place {
  const char* file;
  int line;
};

inline bool expect(Place place, bool held, const char* condition) {
  if (!held) fail(place.file, place.line, std::string("expected ") + condition);
  return held;
}

template <typename A, typename B>
bool expect_equal(Place place, const A& a, const B& b, const char* text) {
  if (equal(a, b)) return true;
  fail(place.file, place.line, std::string(text) + ": " + show(a) + " != " + show(b));
  return false;
}

inline bool expect_near(Place place, double a, double b, double tolerance, const char* text) {
  // Equal first: two infinities of one sign are near, though their difference is NaN.
  if (a == b || std::abs(a - b) <= tolerance) return true;
  fail(place.file, place.line,
       std::string(text) + ": " + show(a) + " and " + show(b) + " are " + show(std::abs(a - b)) +
           " apart, over " + show(tolerance));
  return false;
}

// A Status has ok() and message(); a Result has ok() and status().
template <typename T>
bool expect_ok(Place place, const T& outcome, const char* text) {
  if (outcome.ok()) return true;
  std::string message;
  if constexpr (requires { outcome.message(); }) {
    message = outcome.message();
  } else {
    message = outcome.status().message();
  }
  fail(place.file, place.line, std::string(text) + " is not ok: " + message);
  return false;
}

}  // namespace testing

#define TEST(name)                                                                         \
  static void test_body_##name();                                                          \
  static const ::testing::Registration test_registration_##name{#name, __FILE__, __LINE__, \
                                                                &test_body_##name};        \
  static void test_body_##name()

// Each EXPECT is an expression that says whether it held, so that a test can stop its own loop.
#define PELTON_TEST_PLACE (::testing::Place{__FILE__, __LINE__})
#define EXPECT(...) \
  (::testing::expect(PELTON_TEST_PLACE, static_cast<bool>(__VA_ARGS__), #__VA_ARGS__))
#define EXPECT_EQ(a, ...) \
  (::testing::expect_equal(PELTON_TEST_PLACE, (a), (__VA_ARGS__), #a " == " #__VA_ARGS__))
#define EXPECT_NEAR(a, b, tolerance)                                                         \
  (::testing::expect_near(PELTON_TEST_PLACE, static_cast<double>(a), static_cast<double>(b), \
                          static_cast<double>(tolerance), #a " ~ " #b))
#define EXPECT_OK(...) (::testing::expect_ok(PELTON_TEST_PLACE, (__VA_ARGS__), #__VA_ARGS__))
#define ASSERT(...)                   \
  do {                                \
    if (!EXPECT(__VA_ARGS__)) return; \
  } while (false)
#define ASSERT_EQ(a, ...)                   \
  do {                                      \
    if (!EXPECT_EQ(a, __VA_ARGS__)) return; \
  } while (false)
#define ASSERT_OK(...)                   \
  do {                                   \
    if (!EXPECT_OK(__VA_ARGS__)) return; \
  } while (false)
#define SKIP(why)         \
  do {                    \
    ::testing::skip(why); \
    return;               \
  } while (false)
