// SPDX-License-Identifier: MIT
// Finds the edges before instants that are asked about in any order. Only for series.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "core/points.hpp"

namespace powerprobe {

// Every 16th time in a compact array, and for each of as many equal slices of time the first of those that can hold it. Steps
// of real counters are uneven (on Ice Lake-SP by a factor of two), so a guess from the mean step drifts off by hundreds of
// edges; inside 16 edges it does not.
class TimeIndex {
 public:
  explicit TimeIndex(std::span<const Edge> edges) : edges_(edges.data()), last_(static_cast<Index>(edges.size() - 1)) {
    const std::size_t count = edges.size() / kStride + 1;
    times_.reserve(count + 1);
    for (std::size_t i = 0; i < edges.size(); i += kStride) times_.push_back(edges[i].t_ns);
    times_.push_back(std::numeric_limits<std::int64_t>::max());
    first_ns_ = edges.front().t_ns;
    const auto span_ns = static_cast<double>(edges.back().t_ns - first_ns_ + 1);
    slices_per_ns_ = static_cast<double>(count) / span_ns;
    slices_.resize(count + 1);
    Index block = 0;
    for (std::size_t slice = 0; slice <= count; ++slice) {
      const auto begin_ns = first_ns_ + static_cast<std::int64_t>(static_cast<double>(slice) / slices_per_ns_) - 1;
      while (times_[block + 1] <= begin_ns) ++block;
      slices_[slice] = block;
    }
  }

  // Two passes over a batch, so that the memory the second one needs is on its way.
  void find(const std::int64_t* times, Index* found, std::size_t count) const noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = times[i];
      Index block = slices_[static_cast<std::size_t>(static_cast<double>(t - first_ns_) * slices_per_ns_)];
      Index steps = 0;
      while (times_[block + 1] <= t && ++steps < kMaxSteps) ++block;
      if (times_[block + 1] <= t) {
        block = static_cast<Index>(std::upper_bound(times_.begin() + block, times_.end(), t) - times_.begin() - 1);
      }
      const Index first = block * kStride;
      const Index size = std::min<Index>(kStride, last_ + 1 - first);
      // The guess inside the block; the end of the last block is not known here and does not matter.
      const auto length = static_cast<double>(std::min(times_[block + 1], edges_[last_].t_ns + 1) - times_[block]);
      const auto guess = static_cast<Index>(static_cast<double>(t - times_[block]) / length * static_cast<double>(size));
      found[i] = first + std::min(guess, size - 1);
      __builtin_prefetch(edges_ + found[i]);
      __builtin_prefetch(edges_ + found[i] + 3);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = times[i];
      Index at = found[i];
      while (edges_[at].t_ns > t) --at;  // ends at 0: all instants are answerable
      while (at < last_ && edges_[at + 1].t_ns <= t) ++at;
      __builtin_prefetch(edges_ + std::max<Index>(at, 1) - 1);  // a point needs it as well
      found[i] = at;
    }
  }

 private:
  static constexpr Index kStride = 16;
  static constexpr Index kMaxSteps = 8;  // beyond that (long pauses among the edges) a binary search is cheaper

  const Edge* edges_;
  Index last_;
  std::int64_t first_ns_;
  double slices_per_ns_;
  std::vector<std::int64_t> times_;
  std::vector<Index> slices_;
};

}  // namespace powerprobe
