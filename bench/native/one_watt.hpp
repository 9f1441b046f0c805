// SPDX-License-Identifier: MIT
// A real counter whose truth is known: the kernel's `msr` PMU reads the time stamp counter, which is a clock. Taken as energy it is
// one watt; cut off to whole milliseconds it steps as RAPL does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/source.hpp"
#include "known.hpp"

namespace bench {

class OneWattCounter final : public KnownSource {
 public:
  // To be read for up to for_ns. Throws powerprobe::Error (kUnavailable) where there is no such PMU or it may not be used.
  explicit OneWattCounter(std::int64_t for_ns);

  [[nodiscard]] const std::vector<powerprobe::ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<powerprobe::Reading> out) noexcept override;

  [[nodiscard]] std::int64_t step_of(const powerprobe::Edge& edge) const override;
  [[nodiscard]] std::int64_t step_ns(std::int64_t step) const override;
  [[nodiscard]] std::string what() const override;

 private:
  // Each reading, between its two stamps, says where on CLOCK_MONOTONIC the counter was zero. For a stretch of time so short that
  // the two clocks do not drift apart in it: what all readings say together.
  struct Stretch {
    double earliest_ns = -std::numeric_limits<double>::infinity();
    double latest_ns = std::numeric_limits<double>::infinity();
    [[nodiscard]] bool is_known() const noexcept { return latest_ns - earliest_ns < 1e6; }
  };
  struct Sight {
    std::int64_t before_ns;
    std::int64_t after_ns;
    std::int64_t ticks;
  };

  // Of the group's events the one in the middle: read half-way between the two stamps.
  [[nodiscard]] const powerprobe::Reading& reading() const noexcept { return readings_[readings_.size() / 2]; }
  Sight look() noexcept;
  [[nodiscard]] Sight best_look() noexcept;
  [[nodiscard]] double after_zero_ns(std::int64_t ticks) const noexcept { return static_cast<double>(ticks) * ns_per_tick_; }
  [[nodiscard]] std::size_t stretch_of(std::int64_t ticks) const noexcept;

  std::unique_ptr<powerprobe::Source> clock_;
  std::vector<powerprobe::Reading> readings_;
  double ns_per_tick_ = 0.0;
  std::int64_t ticks_per_step_ = 0;
  std::vector<Stretch> stretches_;
  std::vector<powerprobe::ChannelInfo> channels_;
  std::int64_t first_step_ = -1;
};

}  // namespace bench
