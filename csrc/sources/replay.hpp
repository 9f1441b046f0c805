// SPDX-License-Identifier: MIT
// The scripted source: plays counters that a program describes, for tests of this project and of those who use it. Made
// on the caller's thread, read by its sampler.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/source.hpp"

namespace powerprobe {

// From time_ns on the counter shows `count`. Wraps and resets are counts that fall, nothing else.
struct ReplayStep {
  std::int64_t time_ns = 0;  // since the script's start
  std::uint64_t count = 0;
  std::uint64_t stamp = 0;  // of the counter's own clock; only where the channel has a stamp_tick_ns
};

struct ReplayChannel {
  ChannelInfo info;               // taken as it is; an empty `source` becomes "replay"
  std::vector<ReplayStep> steps;  // the first at 0, then ever later; the last one stays for good
};

// What goes wrong with readings from begin_ns until just before end_ns of the script.
struct ReplayFault {
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = std::numeric_limits<std::int64_t>::max();
  std::string channel;  // empty: all of them
  ReadStatus status = ReadStatus::kOk;
  int error = 0;              // errno of the readings that fail
  std::int64_t sleep_ns = 0;  // real time by which a reading takes longer, whatever the rate
};

struct ReplayOptions {
  // Script time runs this many times as fast as CLOCK_MONOTONIC.
  double rate = 1.0;
  // CLOCK_MONOTONIC time at which the script starts; 0: when the source is made. Until then the first steps hold.
  std::int64_t start_ns = 0;
  // Each reading takes the next step of every channel, whatever the time: the same in every run. Faults go by the time
  // of the step.
  bool stepped = false;
};

class Replay : public Source {
 public:
  // Throws Error (kBadArgument) with the name of the argument at fault.
  explicit Replay(std::vector<ReplayChannel> channels, const std::vector<ReplayFault>& faults = {},
                  const ReplayOptions& options = {});

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override;

  // CLOCK_MONOTONIC time of script time 0.
  [[nodiscard]] std::int64_t start_ns() const noexcept { return start_ns_; }

 private:
  struct Track {
    std::vector<ReplayStep> steps;
    std::vector<ReplayFault> faults;  // those of this channel
    std::size_t next = 0;             // the step after the one that was read last
  };

  [[nodiscard]] std::int64_t script_ns() const noexcept;

  std::vector<ChannelInfo> channels_;
  std::vector<Track> tracks_;
  std::int64_t start_ns_;
  double rate_;
  bool stepped_;
};

}  // namespace powerprobe
