// SPDX-License-Identifier: MIT
// What stands behind pp_probe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "capi/opened.hpp"

namespace powerprobe::capi {

constexpr std::int64_t kLingerNs = 20'000'000;  // for so long after a mark or a begin the counters' steps are looked for
constexpr std::int64_t kFreshNs = 500'000'000;  // the longest wait until a probe that was quiet knows where the counters are

}  // namespace powerprobe::capi

struct pp_probe {
  std::shared_ptr<powerprobe::capi::Opened> opened;
  // By this handle and not released. Relaxed: a mark that is taken while another thread asks or releases may do either.
  std::atomic<std::uint32_t> asked{0};
  // By marks of this handle, after the samplers were told. Relaxed: who does not see it tells them again.
  std::atomic<std::int64_t> asked_until_ns{0};
};
