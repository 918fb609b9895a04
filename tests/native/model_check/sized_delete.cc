// relacy replaces the global operators new and delete, but not the sized deletes that C++14 added:
// those of the C++ library would give relacy's memory to malloc's free.
#include <cstddef>
#include <new>
#include <relacy/relacy.hpp>
#undef delete

void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { ::operator delete[](memory); }
