// SPDX-License-Identifier: MIT
// A counter and a load that are made up, so that both are known to the nanosecond, at the price of a real counter: each reading
// makes a real system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/source.hpp"
#include "counter.hpp"
#include "known.hpp"
#include "steps.hpp"

namespace bench {

// Power that is constant for a while, and then another. Its integral is exact. Times are on CLOCK_MONOTONIC.
class Load {
 public:
  explicit Load(std::int64_t start_ns) : end_ns_(start_ns) {}

  // "const", "square" or "burst", from start_ns on until until_ns at least. Throws std::invalid_argument for another name.
  static Load named(std::string_view name, std::int64_t start_ns, std::int64_t until_ns, unsigned seed);

  // Goes on so for for_ns.
  void then(double watts, double for_ns);

  // Used from the start until t_ns, which must lie within.
  [[nodiscard]] double joules(std::int64_t t_ns) const noexcept;

 private:
  struct Piece {
    std::int64_t from_ns;
    double watts;
    double joules_before;
  };
  std::vector<Piece> pieces_;
  std::int64_t end_ns_;
};

// At each step it shows the energy used up to then, in whole counts.
class SimulatedCounter final : public KnownSource {
 public:
  // Steps: "metronome", "shaken" (20 us either way), "ice-lake" or "stamped" (the same, with the time of each step in the reading),
  // from now on for for_ns. Throws std::invalid_argument for another name.
  SimulatedCounter(std::string_view steps, std::string_view load, std::int64_t for_ns, unsigned seed);

  [[nodiscard]] const std::vector<powerprobe::ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<powerprobe::Reading> out) noexcept override;

  [[nodiscard]] std::int64_t step_of(const powerprobe::Edge& edge) const override;
  [[nodiscard]] std::int64_t step_ns(std::int64_t step) const override { return steps_[static_cast<std::size_t>(step)]; }
  [[nodiscard]] std::string what() const override { return "each reading is one of " + counter_.what(); }

  // Any thread. What was used until then, what the counter shows then.
  [[nodiscard]] double true_joules(std::int64_t t_ns) const noexcept { return load_.joules(t_ns); }
  [[nodiscard]] double shown_joules(std::int64_t t_ns) const noexcept;

 private:
  [[nodiscard]] std::uint64_t stamp(std::int64_t step_ns) const noexcept;

  BareCounter counter_;
  powerprobe::test::Steps steps_;  // the first is when it begins
  Load load_;
  std::vector<std::uint64_t> counts_;  // counts_[i] is shown from steps_[i] on
  std::vector<powerprobe::ChannelInfo> channels_;
  std::size_t shown_ = 0;  // which of them was read last; the sampler's thread, as are the next two
  bool was_read_ = false;
  std::uint64_t first_count_ = 0;
};

}  // namespace bench
