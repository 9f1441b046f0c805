// SPDX-License-Identifier: MIT
// Memory whose pages are mapped twice in a row, so that any window of it, also one across the end, is one contiguous piece.
#pragma once

#include <cstddef>

namespace powerprobe {

// Lives in a memfd, which can be handed to other processes. The only place that calls mmap.
class Mirror {
 public:
  // bytes must be a multiple of the page size. Throws Error (kUnavailable) when the kernel gives no memory.
  explicit Mirror(std::size_t bytes);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // Keeps the memory from being paged out. Throws Error (kPermission) when the limit does not allow it.
  void lock();

  // Bytes [0, size()) and [size(), 2 * size()) are the same memory.
  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_;
  int fd_ = -1;
  void* data_ = nullptr;
};

}  // namespace powerprobe
