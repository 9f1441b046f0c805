// SPDX-License-Identifier: MIT
// A running probe as C sees it: its chosen channels in one tree, numbered from 0.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "capi/powerprobe.h"
#include "core/probe.hpp"

namespace powerprobe::capi {

// Immutable but for the probe itself; any thread. Shared by handles and regions, and the samplers stop with the last of them
// unless somebody else has the probe, too.
class Opened {
 public:
  // These channels of a probe, by name, in its order.
  Opened(std::shared_ptr<Probe> probe, std::span<const std::string> names);

  [[nodiscard]] Probe& probe() const noexcept { return *probe_; }
  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return channels_; }
  [[nodiscard]] std::uint32_t index_of(const std::string& name) const noexcept;  // PP_TOTAL: none

  // What a channel, or PP_TOTAL, is the sum of: indices within the probe. Throws kBadArgument for a channel that is not there.
  [[nodiscard]] std::span<const std::size_t> parts(std::uint32_t channel) const;

 private:
  std::shared_ptr<Probe> probe_;
  std::vector<ChannelInfo> channels_;  // parents set
  std::vector<std::size_t> places_;    // by channel: which one of the probe's
  std::vector<std::size_t> roots_;     // the same of those without a parent
};

// As the options say; started, and nothing asked. Throws Error.
std::shared_ptr<Opened> open_private(const pp_options& options);

}  // namespace powerprobe::capi
