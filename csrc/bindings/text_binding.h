// Adds WordPiece to the module. Its holder is std::shared_ptr<WordPiece>: bindings that hand one on
// take it as py::object and cast to std::shared_ptr<WordPiece>.
#pragma once

#include "csrc/bindings/conversions.h"
#include "csrc/text/word_piece.h"

namespace pelton {

void bind_text(py::module_& module);

}  // namespace pelton
