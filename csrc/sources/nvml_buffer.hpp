// SPDX-License-Identifier: MIT
// Power readings that the driver keeps in a buffer with their times (nvmlDeviceGetSamples): more of them for fewer calls, where
// they prove themselves. Proven while opening, then used by a board's reader.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sources/nvml_api.hpp"
#include "sources/nvml_power.hpp"
#include "sources/nvml_sensors.hpp"
#include "sources/nvml_stamp.hpp"

namespace powerprobe {

class NvmlBuffer {
 public:
  // Neither the depth of the buffer nor the distance of its readings is documented, nor whether their times are those of the
  // readings. It is used if what it holds is in order, recent, closer together than the sensor's own readings, and about as high
  // as the power reading of now. `instant` is what is known of that reading.
  static std::optional<NvmlBuffer> proven(const NvmlApi& api, NvmlDevice device, const NvmlTiming& instant,
                                          std::uint64_t present_mw);

  // Fetches what is new, if it is time. Does not allocate.
  void fill(const NvmlApi& api, NvmlDevice device, const WallClock& wall) noexcept;
  // What the library answered last.
  [[nodiscard]] NvmlReturn code() const noexcept { return code_; }
  // The news of the next reading that was fetched.
  EnergyNews next() noexcept;
  [[nodiscard]] bool has_more() const noexcept { return taken_ < fetched_; }

  // How far apart the readings are.
  [[nodiscard]] std::int64_t distance_ns() const noexcept { return distance_ns_; }

 private:
  NvmlBuffer(std::vector<NvmlBuffered> room, std::int64_t distance_ns, std::int64_t window_ns, unsigned long long newest_us);

  std::vector<NvmlBuffered> room_;
  std::int64_t distance_ns_;
  BufferIntegral integral_;
  unsigned long long newest_us_;  // of the readings fetched so far
  std::size_t fetched_ = 0;
  std::size_t taken_ = 0;
  NvmlReturn code_ = nvml::kSuccess;
  std::int64_t ahead_ns_ = 0;       // what makes a stamp a time
  std::int64_t fetch_at_ns_ = 0;
  std::int64_t last_news_ns_ = 0;
};

// Half of the proof, apart for its tests: how far apart the readings are, oldest first; 0 for readings that are not to be believed.
std::int64_t buffered_distance_ns(std::span<const NvmlBuffered> readings, std::int64_t now_wall_us, const NvmlTiming& instant,
                                  std::uint64_t present_mw);

}  // namespace powerprobe
