// SPDX-License-Identifier: MIT
// When to look at rings that another process fills. The edges in them say themselves when they came, so nothing is lost by looking
// late: soon where somebody waits for the next one, and else just now and then.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/pacing.hpp"
#include "core/source.hpp"

namespace powerprobe {

class RelayPacer final : public Pacing {
 public:
  explicit RelayPacer(std::span<const ChannelInfo> channels);

  void activate(std::int64_t now_ns) noexcept override;
  std::int64_t polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept override;
  std::int64_t plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept override;
  std::int64_t hurry(std::int64_t now_ns) noexcept override { return now_ns; }
  [[nodiscard]] bool is_in_step() const noexcept override { return is_in_step_; }
  [[nodiscard]] std::int64_t tight_ns() const noexcept override { return INT64_MAX; }  // what is late was found out there
  [[nodiscard]] PaceStats stats(std::size_t channel) const noexcept override;

 private:
  std::vector<bool> is_fresh_;  // an edge has come since activate(), or nobody would want to wait for it
  std::vector<bool> is_slow_;
  std::vector<std::int64_t> periods_ns_;
  std::int64_t since_ns_ = 0;
  std::int64_t soon_ns_;
  bool is_in_step_ = false;
};

}  // namespace powerprobe
