// SPDX-License-Identifier: MIT
#include "core/relay.hpp"

#include <cerrno>
#include <utility>

#include "core/error.hpp"

namespace powerprobe {

Relay::Relay(std::vector<ChannelInfo> channels, std::vector<RingReader> rings, std::unique_ptr<Upstream> upstream)
    : channels_(std::move(channels)), upstream_(std::move(upstream)) {
  if (channels_.size() != rings.size()) throw Error(ErrorKind::kBadArgument, "a relay needs one ring for each channel");
  lines_.reserve(rings.size());
  for (RingReader& ring : rings) lines_.emplace_back(std::move(ring));
}

void Relay::read(std::span<Reading> out) noexcept {
  // Before the rings are looked at, so that what is in them is all there will be if it is not. Not again for each of many edges.
  if (!has_more_) is_there_ = upstream_->is_there();
  has_more_ = false;
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = read(lines_[i], is_there_);
    // The writer may be behind one's back: a full helping may not have been the last.
    has_more_ |= lines_[i].next < lines_[i].count || lines_[i].count == lines_[i].edges.size();
  }
}

Reading Relay::read(Line& line, bool is_there) noexcept {
  const RingHeader& header = line.ring.header();
  if (line.next == line.count) {
    const bool has_ended = header.ended_ns.load(std::memory_order_acquire) != INT64_MAX;  // over
    const bool is_written = header.is_written.load(std::memory_order_acquire);            // over
    line.next = 0;
    line.count = line.ring.read(line.edges);
    if (line.count == 0) {
      const std::uint64_t health = header.health.load(std::memory_order_relaxed);
      const auto error = static_cast<int>(health >> 8);
      if (has_ended) return {.status = ReadStatus::kGone, .error = error};
      if (!is_there) return {.status = ReadStatus::kGone, .error = ESRCH};
      if (!is_written) return {.status = ReadStatus::kGone};
      return {.status = health == 0 ? ReadStatus::kNoNews : ReadStatus::kRetry, .error = error};
    }
    if (const std::uint64_t lost = line.ring.lost(); lost != std::exchange(line.lost, lost)) line.edges[0].flags |= kEdgeDropped;
  }
  return {.edge = &line.edges[line.next++]};
}

}  // namespace powerprobe
