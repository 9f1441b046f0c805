// SPDX-License-Identifier: MIT
// A sampler that tracks for some time in a row, and what it costs meanwhile.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/edge.hpp"
#include "core/sampler.hpp"
#include "known.hpp"

namespace bench {

struct Window {
  std::int64_t begin_ns;
  std::int64_t end_ns;
  double cpu_share;  // of the sampler's thread
};

// Starts the sampler, asks all the time, and stops it. The windows lie one behind the other, after the time that the pacer needs to
// learn what it is up against.
std::vector<Window> track_for(powerprobe::Sampler& sampler, int windows, std::int64_t window_ns);

// How long that may take: as long must the counter go on. Throws std::runtime_error when it took longer.
std::int64_t longest_ns(int windows, std::int64_t window_ns);

// The edges of a window that are steps.
std::vector<powerprobe::Edge> steps_in(std::span<const powerprobe::Edge> edges, const Window& window);

// How far from its step an edge is placed, in microseconds.
double error_us(const KnownSource& source, const powerprobe::Edge& edge);

// Of the steps that came between the first and the last of these edges, those with an edge that is 5 us away at most. Throws
// std::runtime_error when there are no edges to tell.
double caught_share(const KnownSource& source, std::span<const powerprobe::Edge> steps);

// The value below which that share of them lies; 0 of none.
double quantile(std::vector<double> values, double share);

}  // namespace bench
