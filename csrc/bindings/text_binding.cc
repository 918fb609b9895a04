#include "csrc/bindings/text_binding.h"

#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pelton {
namespace {

// Fewer bytes take less time than giving the GIL to another thread and getting it back.
constexpr size_t kGilHeldBytesMax = 4096;

std::shared_ptr<WordPiece> create_word_piece(
    std::vector<std::string> vocabulary, std::string unknown_token, std::string continuing_prefix,
    int word_chars_max, bool clean_text, bool handle_chinese_chars, bool strip_accents,
    bool lowercase, const std::vector<std::pair<std::string, int32_t>>& added_tokens,
    std::vector<int32_t> prefix, std::vector<int32_t> suffix) {
  WordPiece::Options options;
  options.vocabulary = std::move(vocabulary);
  options.unknown_token = std::move(unknown_token);
  options.continuing_prefix = std::move(continuing_prefix);
  options.word_chars_max = word_chars_max;
  options.clean_text = clean_text;
  options.handle_chinese_chars = handle_chinese_chars;
  options.strip_accents = strip_accents;
  options.lowercase = lowercase;
  for (const auto& [content, id] : added_tokens) options.added_tokens.push_back({content, id});
  options.prefix = std::move(prefix);
  options.suffix = std::move(suffix);
  auto created = [&] {
    py::gil_scoped_release release;
    return WordPiece::create(options);
  }();
  std::shared_ptr<const WordPiece> word_piece = value_or_raise(std::move(created));
  return std::const_pointer_cast<WordPiece>(std::move(word_piece));
}

template <typename T>
py::array_t<T> to_array(const std::vector<T>& values) {
  py::array_t<T> array(static_cast<py::ssize_t>(values.size()));
  if (!values.empty()) std::memcpy(array.mutable_data(), values.data(), values.size() * sizeof(T));
  return array;
}

py::tuple encode_batch(const WordPiece& word_piece, const py::sequence& texts, int64_t tokens_max) {
  if (tokens_max < word_piece.special_count()) {
    raise_status(invalid_argument("tokens_max: expected at least " +
                                  std::to_string(word_piece.special_count()) + ", got " +
                                  std::to_string(tokens_max)));
  }
  const py::tuple kept(texts);  // the views below are into its strings
  std::vector<std::string_view> views;
  views.reserve(kept.size());
  size_t bytes = 0;
  for (const py::handle text : kept) {
    Py_ssize_t size = 0;
    const char* const data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (data == nullptr) throw py::error_already_set();
    views.emplace_back(data, static_cast<size_t>(size));
    bytes += views.back().size();
  }
  std::vector<int32_t> ids, lengths;
  std::vector<int64_t> uncut;
  {
    std::optional<py::gil_scoped_release> release;
    if (bytes > kGilHeldBytesMax) release.emplace();
    ids.reserve(bytes / 4 + 8 * views.size());
    lengths.reserve(views.size());
    uncut.reserve(views.size());
    for (const std::string_view view : views) {
      const size_t before = ids.size();
      uncut.push_back(word_piece.encode(view, tokens_max, ids));
      lengths.push_back(static_cast<int32_t>(ids.size() - before));
    }
  }
  return py::make_tuple(to_array(ids), to_array(lengths), to_array(uncut));
}

}  // namespace

void bind_text(py::module_& module) {
  py::class_<WordPiece, std::shared_ptr<WordPiece>>(module, "WordPiece",
                                                    "The tokenizer of BERT-family encoders.")
      .def(py::init(&create_word_piece), py::kw_only(), py::arg("vocabulary"),
           py::arg("unknown_token"), py::arg("continuing_prefix"), py::arg("word_chars_max"),
           py::arg("clean_text"), py::arg("handle_chinese_chars"), py::arg("strip_accents"),
           py::arg("lowercase"), py::arg("added_tokens"), py::arg("prefix"), py::arg("suffix"))
      .def_property_readonly("special_count", &WordPiece::special_count)
      .def_property_readonly("vocabulary_size", &WordPiece::vocabulary_size)
      .def("encode_batch", &encode_batch, py::arg("texts"), py::arg("tokens_max"));
}

}  // namespace pelton
