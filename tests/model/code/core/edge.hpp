// SPDX-License-Identifier: MIT
// Stands in for csrc/core/edge.hpp where the ring is model checked: an edge is its number, and slots are watched for races.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace powerprobe {

// A slot of the ring is known by its address; an edge outside of the ring is a plain number.
struct Edge {
  std::uint64_t plain = 0;

  Edge& operator=(const Edge& edge) {
    slot()(RL_INFO) = edge.plain;
    return *this;
  }
  [[nodiscard]] std::uint64_t number() const { return slot()(RL_INFO); }

  // Of the one ring that is alive.
  static inline const Edge* first = nullptr;
  static inline std::size_t capacity = 0;
  static inline std::array<rl::var<std::uint64_t>*, 4> slots{};

 private:
  // Twice as many addresses as slots: the second half is the first one again.
  [[nodiscard]] rl::var<std::uint64_t>& slot() const { return *slots[static_cast<std::size_t>(this - first) % capacity]; }
};

inline void put(Edge& slot, const Edge& edge) { slot = edge; }

}  // namespace powerprobe
