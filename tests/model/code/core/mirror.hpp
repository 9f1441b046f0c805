// SPDX-License-Identifier: MIT
// Stands in for csrc/core/mirror.hpp where the ring is model checked.
#pragma once

#include <array>
#include <cstddef>

#include "core/edge.hpp"

namespace powerprobe {

class Mirror {
 public:
  explicit Mirror(std::size_t bytes) {
    Edge::first = edges_.data();
    Edge::capacity = bytes / sizeof(Edge);
    for (std::size_t i = 0; i < Edge::capacity; ++i) Edge::slots[i] = new rl::var<std::uint64_t>;
  }
  ~Mirror() {
    for (std::size_t i = 0; i < Edge::capacity; ++i) delete Edge::slots[i];
  }
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  void lock() {}

  [[nodiscard]] void* header() noexcept { return header_.data(); }
  [[nodiscard]] void* data() noexcept { return edges_.data(); }

 private:
  alignas(64) std::array<std::byte, 4096> header_;
  std::array<Edge, 2 * Edge::slots.size()> edges_;
};

}  // namespace powerprobe
