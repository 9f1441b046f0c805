// SPDX-License-Identifier: MIT
// The energy of one GPU board over NVML. Opened on any thread, read by one sampler, which must expect that a reading hangs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/source.hpp"
#include "sources/nvml_api.hpp"
#include "sources/nvml_buffer.hpp"
#include "sources/nvml_look.hpp"
#include "sources/nvml_power.hpp"
#include "sources/nvml_sensors.hpp"
#include "sources/nvml_stamp.hpp"

namespace powerprobe {

class NvmlBoard final : public Source {
 public:
  struct Part {
    ChannelInfo channel;  // kIntegrated: from power readings
    NvmlWay way;
    NvmlTiming timing;                       // of power readings
    std::optional<NvmlBuffer> buffer = {};  // then `way` is not used
  };

  // Calls nothing: what is opened here was found out by look_at_board().
  NvmlBoard(std::shared_ptr<const NvmlApi> api, NvmlDevice device, std::vector<Part> parts);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }

  // One call of nvmlDeviceGetFieldValues for all that fields give, and one for each channel that they do not. While has_more()
  // nothing is called: only the next of the buffered readings is brought, and there are no news of the other channels.
  void read(std::span<Reading> out) noexcept override;
  [[nodiscard]] bool has_more() const noexcept override;

  // All boards are read by one thread: calls for different ones wait for each other in the driver anyway.
  [[nodiscard]] std::string_view thread() const noexcept override { return "nvml"; }

 private:
  struct Raw {
    NvmlReturn code = nvml::kSuccess;
    std::uint64_t value = 0;
    std::int64_t stamp_us = 0;  // 0: none
    std::int64_t latency_us = 0;
    std::int64_t before_ns = 0;
    std::int64_t after_ns = 0;
  };
  struct Reader {
    NvmlWay way;
    std::size_t entry = 0;  // of a field
    StampTrust trust;                         // of a counter
    std::optional<DisplayIntegral> integral;  // of a power reading
    std::optional<NvmlBuffer> buffer;
  };

  void read_fields() noexcept;
  [[nodiscard]] Raw raw(const Reader& reader) const noexcept;
  [[nodiscard]] Reading reading(Reader& reader) noexcept;

  std::shared_ptr<const NvmlApi> api_;
  NvmlDevice device_;
  std::vector<ChannelInfo> channels_;
  std::vector<Reader> readers_;

  std::vector<NvmlFieldValue> entries_;
  NvmlReturn entries_code_ = nvml::kSuccess;
  std::int64_t entries_before_ns_ = 0;
  std::int64_t entries_after_ns_ = 0;
  WallClock wall_;
};

}  // namespace powerprobe
