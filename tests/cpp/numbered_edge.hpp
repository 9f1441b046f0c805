// SPDX-License-Identifier: MIT
// Edges that say which they are, in every field, so that a torn, misplaced or overwritten one shows.
#pragma once

#include <cstdint>

#include "core/edge.hpp"

namespace powerprobe {

// The edge at an index of the ring, made by the writer's attempt of that number (later than the index once edges were dropped).
inline Edge numbered_edge(std::uint64_t index, std::uint64_t attempt) {
  const std::uint64_t mixed = (index + 1) * 0x9e3779b97f4a7c15u + attempt;
  Edge edge;
  edge.t_ns = static_cast<std::int64_t>(attempt);
  edge.joules = static_cast<double>(attempt) * 0.5;
  edge.gap_ns = static_cast<std::uint32_t>(mixed);
  edge.read_ns = static_cast<std::uint32_t>(mixed >> 32);
  edge.flags = static_cast<std::uint32_t>(mixed >> 16);
  edge.segment = static_cast<std::uint32_t>(index);
  return edge;
}

inline std::uint64_t attempt_of(const Edge& edge) { return static_cast<std::uint64_t>(edge.t_ns); }

inline bool is_numbered(const Edge& edge, std::uint64_t index) {
  const Edge want = numbered_edge(index, attempt_of(edge));
  return edge.joules == want.joules && edge.gap_ns == want.gap_ns && edge.read_ns == want.read_ns &&
         edge.flags == want.flags && edge.segment == want.segment;
}

}  // namespace powerprobe
