// SPDX-License-Identifier: MIT
// A source of edges that another process finds: read from its rings, and asked for there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/ring_reader.hpp"
#include "core/source.hpp"

namespace powerprobe {

// Who finds the edges. Used by the thread that reads its Relay.
class Upstream {
 public:
  Upstream() = default;
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  virtual ~Upstream() = default;

  // Whether its process lives.
  [[nodiscard]] virtual bool is_there() noexcept = 0;

  // Has it look for the counters' steps until then.
  virtual void ask_until(std::int64_t t_ns) noexcept = 0;
};

// Brings the edges as they are, the oldest that are still there first; the running totals are those of the other process. A channel is
// gone when it ended there, and all are when that process ended or stopped looking; not before its last edge was brought.
class Relay final : public Source {
 public:
  // One ring for each channel.
  Relay(std::vector<ChannelInfo> channels, std::vector<RingReader> rings, std::unique_ptr<Upstream> upstream);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override;
  [[nodiscard]] bool has_more() const noexcept override { return has_more_; }
  [[nodiscard]] bool is_relay() const noexcept override { return true; }
  void ask_until(std::int64_t t_ns) noexcept override { upstream_->ask_until(t_ns); }

 private:
  // A ring and what has been copied out of it.
  struct Line {
    explicit Line(RingReader reader) noexcept : ring(std::move(reader)) {}

    RingReader ring;
    std::array<Edge, 64> edges{};
    std::size_t next = 0;
    std::size_t count = 0;
    std::uint64_t lost = 0;  // of the ring, when it was last said
  };

  [[nodiscard]] Reading read(Line& line, bool is_there) noexcept;

  std::vector<ChannelInfo> channels_;
  std::vector<Line> lines_;
  std::unique_ptr<Upstream> upstream_;
  bool is_there_ = true;
  bool has_more_ = false;
};

}  // namespace powerprobe
