// SPDX-License-Identifier: MIT
#include "sources/nvml_buffer.hpp"

#include <algorithm>
#include <utility>

#include "core/clock.hpp"

namespace powerprobe {
namespace {

constexpr std::size_t kLeast = 8;       // readings that are needed for a proof
constexpr std::size_t kMost = 1 << 14;  // that are fetched at once
// The newest is no older than so many distances, and a second.
constexpr std::int64_t kRecent = 10;
constexpr std::int64_t kRecentUs = 1'000'000;
// Of two clocks that are read one after the other.
constexpr std::int64_t kFutureUs = 1'000;
// So many readings are fetched with one call, about.
constexpr std::int64_t kPerFetch = 4;
// A buffer that is silent for so long has failed.
constexpr std::int64_t kSilentNs = 5'000'000'000;
constexpr std::int64_t kJumpNs = 1'000'000;

}  // namespace

std::int64_t buffered_distance_ns(std::span<const NvmlBuffered> readings, std::int64_t now_wall_us, const NvmlTiming& instant,
                                  std::uint64_t present_mw) {
  if (readings.size() < kLeast) return 0;
  std::vector<std::int64_t> distances;
  for (std::size_t i = 1; i < readings.size(); ++i) {
    distances.push_back(static_cast<std::int64_t>(readings[i].timestamp_us) -
                        static_cast<std::int64_t>(readings[i - 1].timestamp_us));
  }
  if (std::any_of(distances.begin(), distances.end(), [](std::int64_t us) { return us <= 0; })) return 0;
  const auto middle = distances.begin() + static_cast<std::ptrdiff_t>(distances.size() / 2);
  std::nth_element(distances.begin(), middle, distances.end());
  const std::int64_t distance_us = *middle;
  if (distance_us * 1000 >= instant.period_ns) return 0;
  const std::int64_t age_us = now_wall_us - static_cast<std::int64_t>(readings.back().timestamp_us);
  if (age_us < -kFutureUs || age_us > kRecentUs + kRecent * distance_us) return 0;

  // The power reading of now is one of the last few, or between them.
  std::uint64_t low_mw = UINT64_MAX;
  std::uint64_t high_mw = 0;
  const std::int64_t recent_us =
      static_cast<std::int64_t>(readings.back().timestamp_us) - 3 * instant.period_ns / 1000 - instant.window_ns / 1000;
  for (const NvmlBuffered& reading : readings) {
    if (static_cast<std::int64_t>(reading.timestamp_us) < recent_us) continue;
    low_mw = std::min<std::uint64_t>(low_mw, reading.value.as_unsigned);
    high_mw = std::max<std::uint64_t>(high_mw, reading.value.as_unsigned);
  }
  const bool is_plausible = present_mw >= low_mw - low_mw / 4 && present_mw <= high_mw + high_mw / 4;
  return is_plausible ? distance_us * 1000 : 0;
}

std::optional<NvmlBuffer> NvmlBuffer::proven(const NvmlApi& api, NvmlDevice device, const NvmlTiming& instant,
                                             std::uint64_t present_mw) {
  int type = 0;
  unsigned int count = 0;
  if (api.buffered == nullptr ||
      api.buffered(device, nvml::kBufferTotalPower, 0, &type, &count, nullptr) != nvml::kSuccess || count < kLeast) {
    return std::nullopt;
  }
  std::vector<NvmlBuffered> room(std::min<std::size_t>(count, kMost));
  count = static_cast<unsigned int>(room.size());
  if (api.buffered(device, nvml::kBufferTotalPower, 0, &type, &count, room.data()) != nvml::kSuccess) return std::nullopt;
  if (type != static_cast<int>(nvml::kTypeUnsigned) || count > room.size()) return std::nullopt;
  WallClock wall;
  wall.look();
  const std::int64_t distance_ns = buffered_distance_ns({room.data(), count}, wall.wall_us(now_ns()), instant, present_mw);
  if (distance_ns == 0) return std::nullopt;
  // The newest is fetched again by the first reading, which so has news.
  const unsigned long long newest_us = room[count - 2].timestamp_us;
  // What a buffered reading is the mean of is not documented: of no more than the time since the one before, it is taken here.
  return NvmlBuffer(std::move(room), distance_ns, std::min(instant.window_ns, distance_ns), newest_us);
}

NvmlBuffer::NvmlBuffer(std::vector<NvmlBuffered> room, std::int64_t distance_ns, std::int64_t window_ns,
                       unsigned long long newest_us)
    : room_(std::move(room)), distance_ns_(distance_ns), integral_(distance_ns, window_ns), newest_us_(newest_us) {}

void NvmlBuffer::fill(const NvmlApi& api, NvmlDevice device, const WallClock& wall) noexcept {
  const std::int64_t now = now_ns();
  if (wall.doubt_ns() > kJumpNs) {
    // The clock was set: readings from before are at times that mean nothing now, and "newer than" would skip or repeat some.
    newest_us_ = static_cast<unsigned long long>(std::max<std::int64_t>(wall.wall_us(now), 0));
    return;
  }
  if (now < fetch_at_ns_) return;
  fetch_at_ns_ = now + kPerFetch * distance_ns_;
  taken_ = 0;
  fetched_ = 0;
  if (last_news_ns_ == 0) last_news_ns_ = now;
  int type = 0;
  auto count = static_cast<unsigned int>(room_.size());
  code_ = api.buffered(device, nvml::kBufferTotalPower, newest_us_, &type, &count, room_.data());
  if (code_ == nvml::kNotFound) {
    code_ = now - last_news_ns_ > kSilentNs ? nvml::kNoData : nvml::kSuccess;
    return;
  }
  if (code_ == nvml::kInsufficientSize) {
    // Not asked for so long that there is more than room: what fits is in the buffer's newest half, the rest is lost.
    const auto fitting_ns = static_cast<std::int64_t>(room_.size() / 2) * distance_ns_;
    newest_us_ = std::max(newest_us_, static_cast<unsigned long long>(std::max<std::int64_t>(wall.wall_us(now - fitting_ns), 0)));
    fetch_at_ns_ = now;
    code_ = nvml::kSuccess;
    return;
  }
  if (code_ != nvml::kSuccess) return;
  if (type != static_cast<int>(nvml::kTypeUnsigned) || count > room_.size()) {
    code_ = nvml::kUnknown;
    return;
  }
  fetched_ = count;
  ahead_ns_ = -wall.monotonic_ns(0);
  if (count == 0) return;
  last_news_ns_ = now;
  newest_us_ = std::max(newest_us_, room_[count - 1].timestamp_us);
}

EnergyNews NvmlBuffer::next() noexcept {
  while (taken_ < fetched_) {
    const NvmlBuffered& reading = room_[taken_++];
    const std::int64_t t_ns = static_cast<std::int64_t>(reading.timestamp_us) * 1000 - ahead_ns_;
    const EnergyNews news = integral_.add(reading.value.as_unsigned, t_ns);
    if (news.is_news) return news;
  }
  return {};
}

}  // namespace powerprobe
