// SPDX-License-Identifier: MIT
// An object that a process has in common with the children that it forks.
#pragma once

#include <sys/mman.h>

#include <cerrno>
#include <new>
#include <type_traits>

#include "core/error.hpp"

namespace powerprobe {

template <typename T>
class Shared {
 public:
  // Throws Error (kUnavailable) when the kernel gives no memory.
  Shared() {
    void* const memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw Error(ErrorKind::kUnavailable, "mmap of a page failed", {}, errno, "close other programs");
    object_ = ::new (memory) T;
  }
  ~Shared() { ::munmap(object_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;

  T* operator->() const noexcept { return object_; }
  T& operator*() const noexcept { return *object_; }

 private:
  static_assert(std::is_trivially_destructible_v<T>);
  T* object_;
};

}  // namespace powerprobe
