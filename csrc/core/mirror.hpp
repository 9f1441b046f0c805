// SPDX-License-Identifier: MIT
// Memory whose pages are mapped twice in a row, so that any window of it, also one across the end, is one contiguous piece. One
// page before it is mapped once, for what has to be said of it.
#pragma once

#include <cstddef>

namespace powerprobe {

// Lives in a memfd, so that other processes can have it as well: the child of a fork has the mapping.
class Mirror {
 public:
  // bytes must be a multiple of the page size. Throws Error (kUnavailable) when the kernel gives no memory.
  explicit Mirror(std::size_t bytes);
  ~Mirror();
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  // Keeps the memory from being paged out. Throws Error (kPermission) when the limit does not allow it.
  void lock();

  // A page of zeros at first.
  [[nodiscard]] void* header() const noexcept { return header_; }

  // Bytes [0, size()) and [size(), 2 * size()) are the same memory.
  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::size_t size_;
  int fd_ = -1;
  void* header_ = nullptr;
  void* data_ = nullptr;
};

}  // namespace powerprobe
