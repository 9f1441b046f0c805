// SPDX-License-Identifier: MIT
#include "core/recorder.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace powerprobe {
namespace {

std::uint32_t saturated(std::int64_t ns) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(ns, 0, UINT32_MAX));
}

}  // namespace

Recorder::Recorder(const ChannelInfo& channel, std::size_t capacity)
    : info_(channel),
      model_(EnergyModel::of(channel)),
      ring_(Ring::create(capacity)),
      unwrapper_(channel.modulus, channel.joules_per_count, channel.max_watts, channel.stale_ns),
      own_flags_((channel.filtered ? kEdgeFiltered : 0u) | (channel.provenance == Provenance::kEstimated ? kEdgeEstimated : 0u)) {
  if (channel.stamp_tick_ns > 0.0) stamps_.emplace(channel.stamp_tick_ns, channel.stamp_modulus);
}

void Recorder::follow(const Recorder& guide) noexcept {
  guide_ = &guide;
  patience_ns_ = std::min(guide.info_.window_ns + 3 * guide.info_.update_period_ns, kGuidePatienceNs);
}

Sight Recorder::take(const Reading& reading, std::int64_t before_ns, std::int64_t after_ns, bool late,
                     std::int64_t tight_ns) noexcept {
  if (has_ended_) return {.ended = true};
  said().read_ns.store(after_ns, std::memory_order_relaxed);
  if (reading.status == ReadStatus::kGone || reading.status == ReadStatus::kFatal) return end(reading, before_ns);
  if (reading.edge != nullptr) return relay(*reading.edge);
  if (reading.status == ReadStatus::kRetry || after_ns - before_ns > kLongestNs) {
    retries_.add();
    next_flags_ |= kEdgeAfterRetry;
    said().health.store(static_cast<std::uint64_t>(ReadStatus::kRetry) | static_cast<std::uint64_t>(reading.error) << 8,
                        std::memory_order_relaxed);
    return {};
  }
  say_healthy();
  if (reading.status == ReadStatus::kNoNews) return {};
  // Only a counter has steps. An estimate moves whenever it is read; what is integrated says itself when it was, so that it cannot
  // be seen too late.
  const bool has_steps = info_.provenance == Provenance::kMeasured;
  const bool is_integrated = info_.provenance == Provenance::kIntegrated;
  if (late && !is_integrated) next_flags_ |= kEdgeLate;
  const std::int64_t old_value_seen_ns = std::exchange(old_value_seen_ns_, before_ns);
  const Step step = unwrapper_.feed(reading.count, after_ns, after_ns - before_ns);
  if (unwrapper_.ambiguous()) {
    // As after a reset: what was counted is a lower bound, and nothing bounds it from above.
    next_flags_ |= kEdgeAmbiguous;
    ++segment_;
  }

  Edge edge;
  edge.t_ns = after_ns;
  // A value is never older than stale_ns when it is read, which may have been as early as before_ns.
  std::int64_t gap_ns = info_.stale_ns + (after_ns - before_ns);
  switch (step) {
    case Step::kFirst:
      edge.flags = kEdgeFirst;
      break;
    case Step::kStill:
      if (is_integrated && reading.at_ns != 0) break;  // as good as any other: nothing was used
      // Rest is news too, but not at each poll: it bounds what was used up to stale_ns ago.
      if (after_ns - last_edge_ns_ < 2 * info_.stale_ns) return {};
      edge.flags = kEdgeQuiet;
      break;
    case Step::kReset:
      edge.flags = kEdgeReset;
      ++segment_;
      resets_.add();
      gap_ns = std::min(gap_ns, after_ns - old_value_seen_ns);
      break;
    case Step::kWrapped:
      edge.flags = kEdgeWrapped;
      wraps_.add();
      [[fallthrough]];
    case Step::kPlain:
      gap_ns = std::min(gap_ns, after_ns - old_value_seen_ns);
      break;
  }
  if (stamps_ && step != Step::kStill) {
    const StampMap::Located located = stamps_->locate(reading.stamp, after_ns - gap_ns, after_ns);
    edge.t_ns = std::max(located.t_ns, last_edge_ns_ + 1);
    gap_ns = located.gap_ns + (edge.t_ns - located.t_ns);
    edge.flags |= kEdgeStamped;
  }
  if (reading.at_ns != 0 && (edge.flags & kEdgeQuiet) == 0) {
    edge.t_ns = std::max(reading.at_ns, last_edge_ns_ + 1);
    gap_ns = reading.gap_ns + (edge.t_ns - reading.at_ns);
    if (has_steps) edge.flags |= kEdgeStamped;
  }
  const bool stepped = step == Step::kPlain || step == Step::kWrapped;
  if (stepped && has_steps && gap_ns > tight_ns) edge.flags |= kEdgeLate;
  const Sight sight = is_integrated ? Sight{} : Sight{.stepped = stepped, .t_ns = edge.t_ns, .gap_ns = gap_ns};
  edge.joules = static_cast<double>(unwrapper_.total()) * info_.joules_per_count;
  edge.gap_ns = saturated(gap_ns);
  edge.read_ns = saturated(after_ns - before_ns);
  edge.flags |= own_flags_;
  edge.segment = segment_;
  store(edge);
  return sight;
}

// An edge that another process has found: all that it says stands.
Sight Recorder::relay(Edge edge) noexcept {
  if (edge.t_ns <= last_edge_ns_) return {};  // edges of a ring are in order; what is not comes from no ring of ours
  say_healthy();
  if ((edge.flags & kEdgeWrapped) != 0) wraps_.add();
  const std::uint32_t segment_before = std::exchange(segment_, edge.segment);
  if (last_edge_ns_ != 0) resets_.add(edge.segment - segment_before);  // not those from before this probe
  const Sight sight{.stepped = (edge.flags & (kEdgeFirst | kEdgeQuiet)) == 0, .t_ns = edge.t_ns, .gap_ns = edge.gap_ns};
  store(edge);
  return sight;
}

void Recorder::store(Edge& edge) noexcept {
  edge.flags |= next_flags_;
  if ((edge.flags & kRareEdgeFlags) != 0) rare_until_.set(ring_->head() + 1);
  if (!ring_->publish(edge)) {
    // Its energy is in the next edge, and so must be what happened.
    next_flags_ |= (edge.flags & kRareEdgeFlags) | kEdgeDropped;
    unstored_ = edge;
    return;
  }
  unstored_.reset();
  edges_.add();
  next_flags_ = 0;
  last_edge_ns_ = edge.t_ns;
}

Sight Recorder::end(const Reading& reading, std::int64_t at_ns) noexcept {
  has_ended_ = true;
  // What was read last is all that is known; energy up to the newest answerable instant stays answerable.
  said().ended_ns.store(at_ns, std::memory_order_release);  // over
  said().health.store(static_cast<std::uint64_t>(reading.status) | static_cast<std::uint64_t>(reading.error) << 8,
                      std::memory_order_relaxed);
  return {.ended = true};
}

bool Recorder::fill(Mark::Slot& slot, std::int64_t t_ns, bool give_up) const noexcept {
  const auto edges = ring_->tail(ring_->capacity());
  std::span<const Edge> guide;
  if (guide_ != nullptr) guide = guide_->ring_->tail(guide_->ring_->capacity());
  const std::int64_t settled_ns = give_up ? INT64_MAX : this->settled_ns(guide);
  if (!edges.empty() && t_ns < first_answerable_ns(edges)) {
    slot.state = MarkState::kOutside;
  } else if (t_ns <= known_until_ns(edges, settled_ns)) {
    know(slot, point_at(edges, model_, t_ns, guide));
  } else if (unstored_ && !edges.empty() && unstored_->t_ns <= settled_ns && t_ns <= last_answerable_ns({&*unstored_, 1})) {
    // A lease holds the whole ring and newer edges are dropped, but the newest of them is still in hand.
    const auto after = std::upper_bound(edges.begin(), edges.end(), t_ns,
                                        [](std::int64_t t, const Edge& edge) { return t < edge.t_ns; });
    const std::array<Edge, 2> around{*(after - 1), *unstored_};
    know(slot, point_at(around, model_, t_ns, guide));
  } else if (has_ended_) {
    slot.state = MarkState::kGone;
  } else if (give_up) {
    slot.state = MarkState::kUnsettled;
  } else {
    return false;
  }
  return true;
}

std::int64_t Recorder::settled_ns(std::span<const Edge> guide) const noexcept {
  const auto has_ended = [](const Recorder& recorder) {
    return recorder.said().ended_ns.load(std::memory_order_relaxed) != INT64_MAX;
  };
  if (guide_ == nullptr || has_ended(*this) || has_ended(*guide_)) return INT64_MAX;
  return std::max(guided_until_ns(guide), said().read_ns.load(std::memory_order_relaxed) - patience_ns_);
}

void Recorder::know(Mark::Slot& slot, const Point& point) const noexcept {
  slot.point = point;
  slot.wraps = wraps_.get();
  slot.dropped = ring_->dropped();
  slot.state = MarkState::kKnown;
}

ChannelStats Recorder::stats() const noexcept {
  const std::uint64_t health = said().health.load(std::memory_order_relaxed);
  return {.edges = edges_.get(),
          .dropped = ring_->dropped(),
          .wraps = wraps_.get(),
          .resets = resets_.get(),
          .retries = retries_.get(),
          .health = static_cast<ReadStatus>(health & 0xff),
          .error = static_cast<int>(health >> 8),
          .ended_ns = said().ended_ns.load(std::memory_order_relaxed)};
}

}  // namespace powerprobe
