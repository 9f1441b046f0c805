// SPDX-License-Identifier: MIT
// A number that one thread counts up or sets and any thread may look at. It orders nothing: relaxed everywhere.
#pragma once

#include <atomic>
#include <cstdint>

namespace powerprobe {

class Count {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace powerprobe
