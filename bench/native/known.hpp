// SPDX-License-Identifier: MIT
// A counter whose steps are known: what a sampler makes of it can be held against the truth.
#pragma once

#include <cstdint>
#include <string>

#include "core/edge.hpp"
#include "core/source.hpp"

namespace bench {

// It has one channel. Steps are numbered from anywhere.
class KnownSource : public powerprobe::Source {
 public:
  // All only once its sampler has stopped. The step that an edge shows; when a step came.
  [[nodiscard]] virtual std::int64_t step_of(const powerprobe::Edge& edge) const = 0;
  [[nodiscard]] virtual std::int64_t step_ns(std::int64_t step) const = 0;
  // What is read and how well it is known, for people.
  [[nodiscard]] virtual std::string what() const = 0;
};

}  // namespace bench
