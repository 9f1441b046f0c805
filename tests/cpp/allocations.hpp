// SPDX-License-Identifier: MIT
// Counts what the calling thread takes from the heap with new. Include in one file of a program only: it replaces new.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace powerprobe {
inline thread_local std::size_t allocations = 0;
}  // namespace powerprobe

// Not inlined: gcc 12 otherwise takes new and free for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++powerprobe::allocations;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
