// SPDX-License-Identifier: MIT
// What stands behind pp_probe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "capi/opened.hpp"

struct pp_probe {
  std::shared_ptr<powerprobe::capi::Opened> opened;
  // By this handle and not released. Relaxed: a mark that is taken while another thread asks or releases may do either.
  std::atomic<std::uint32_t> asked{0};
  // By marks of this handle, after the samplers were told. Relaxed: who does not see it tells them again.
  std::atomic<std::int64_t> asked_until_ns{0};
};
