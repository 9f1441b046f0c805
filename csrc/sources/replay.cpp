// SPDX-License-Identifier: MIT
#include "sources/replay.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <ctime>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace powerprobe {
namespace {

void require(bool condition, const std::string& what) {
  if (!condition) throw Error(ErrorKind::kBadArgument, what);
}

void check(const ReplayChannel& channel) {
  const std::string name = "channels: " + channel.info.name;
  const ChannelInfo& info = channel.info;
  require(!info.name.empty(), "channels: every channel needs a name");
  require(std::isfinite(info.joules_per_count) && info.joules_per_count > 0.0,
          name + " needs a joules_per_count above 0");
  require(!channel.steps.empty() && channel.steps.front().time_ns == 0, name + " needs steps, the first at time 0");
  for (std::size_t i = 0; i < channel.steps.size(); ++i) {
    const ReplayStep& step = channel.steps[i];
    const std::string at = name + ", step " + std::to_string(i) + ": ";
    require(i == 0 || step.time_ns > channel.steps[i - 1].time_ns, at + "time_ns is not later than the step before");
    require(info.modulus == 0 || step.count < info.modulus, at + "count is not below the modulus");
    require(step.stamp == 0 || info.stamp_tick_ns > 0.0, at + "stamp in a channel without stamp_tick_ns");
    require(info.stamp_modulus == 0 || step.stamp < info.stamp_modulus, at + "stamp is not below the stamp_modulus");
  }
}

void check(const ReplayFault& fault) {
  require(fault.begin_ns >= 0 && fault.end_ns > fault.begin_ns,
          "faults: end_ns must be after begin_ns, and that not below 0");
  require(fault.sleep_ns >= 0, "faults: sleep_ns is below 0");
  require(fault.status != ReadStatus::kOk || fault.sleep_ns > 0,
          "faults: a fault needs a status that is not ok or a sleep_ns");
}

void sleep_for(std::int64_t ns) noexcept {
  const std::int64_t end_ns = now_ns() + ns;
  const timespec end = {static_cast<time_t>(end_ns / 1'000'000'000), static_cast<long>(end_ns % 1'000'000'000)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
  }
}

}  // namespace

Replay::Replay(std::vector<ReplayChannel> channels, const std::vector<ReplayFault>& faults,
               const ReplayOptions& options)
    : start_ns_(options.start_ns != 0 ? options.start_ns : now_ns()), rate_(options.rate), stepped_(options.stepped) {
  require(!channels.empty(), "channels: there must be one at least");
  require(std::isfinite(rate_) && rate_ > 0.0, "rate must be above 0");
  require(options.start_ns >= 0, "start_ns is below 0");
  for (ReplayChannel& channel : channels) {
    check(channel);
    const bool is_new = std::none_of(channels_.begin(), channels_.end(),
                                     [&](const ChannelInfo& other) { return other.name == channel.info.name; });
    require(is_new, "channels: two are called " + channel.info.name);
    if (channel.info.source.empty()) channel.info.source = "replay";
    channels_.push_back(std::move(channel.info));
    tracks_.push_back({std::move(channel.steps), {}});
  }
  for (const ReplayFault& fault : faults) {
    check(fault);
    bool is_known = fault.channel.empty();
    for (std::size_t i = 0; i < tracks_.size(); ++i) {
      if (!fault.channel.empty() && fault.channel != channels_[i].name) continue;
      tracks_[i].faults.push_back(fault);
      is_known = true;
    }
    require(is_known, "faults: there is no channel " + fault.channel);
  }
}

std::int64_t Replay::script_ns() const noexcept {
  const double ns = static_cast<double>(now_ns() - start_ns_) * rate_;
  return static_cast<std::int64_t>(std::min(ns, 9.2e18));
}

void Replay::read(std::span<Reading> out) noexcept {
  const std::int64_t now = stepped_ ? 0 : script_ns();
  std::int64_t sleep_ns = 0;
  for (std::size_t i = 0; i < tracks_.size(); ++i) {
    Track& track = tracks_[i];
    const std::size_t size = track.steps.size();
    if (stepped_ || track.next == 0) track.next = std::min(track.next + 1, size);
    while (!stepped_ && track.next < size && track.steps[track.next].time_ns <= now) ++track.next;
    const ReplayStep& step = track.steps[track.next - 1];
    out[i] = {step.count, step.stamp, ReadStatus::kOk, 0};
    const std::int64_t at_ns = stepped_ ? step.time_ns : now;
    for (const ReplayFault& fault : track.faults) {
      if (at_ns < fault.begin_ns || at_ns >= fault.end_ns) continue;
      if (fault.status != ReadStatus::kOk) out[i] = {0, 0, fault.status, fault.error};
      sleep_ns = std::max(sleep_ns, fault.sleep_ns);
    }
  }
  if (sleep_ns > 0) sleep_for(sleep_ns);
}

}  // namespace powerprobe
