// Values as Python prints them: the texts of problems are those of the Python codecs, which quote
// names and values by repr().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pelton {

// repr() of a str in UTF-8; bytes that are not UTF-8 are the surrogates of `surrogateescape`.
// Which characters are printable is a matter of the Unicode version: here that of Python 3.11.
std::string python_repr(std::string_view text);
// repr() of a float.
std::string python_repr(double value);
// str() of an int, from an integer as JSON writes it.
std::string python_int(std::string_view text);

// At most 60 characters: a longer text is cut and ends with an ellipsis.
std::string shorten(std::string_view text);

// How Python's describe() names a string, a float and an int: "the string 'a'", "the number 1.5".
std::string describe_string(std::string_view text);
std::string describe_float(double value);
// As JSON writes it. An integer over some 40 digits is described by their number.
std::string describe_integer(std::string_view text);

}  // namespace pelton
