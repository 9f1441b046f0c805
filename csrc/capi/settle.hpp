// SPDX-License-Identifier: MIT
// Energies of an opened probe, waiting for the counters' next steps where they are needed.
#pragma once

#include <cstdint>
#include <span>

#include "capi/opened.hpp"
#include "core/series.hpp"

namespace powerprobe::capi {

// Adds another channel's energy.
inline void add(Energy& sum, const Energy& part) noexcept {
  sum.joules += part.joules;
  sum.lower += part.lower;
  sum.upper += part.upper;
  sum.flags |= part.flags;
}

// Returns when all parts (indices within the probe) can be answered up to latest_ns, or when the samplers will not bring it any
// nearer. Throws kTimeout, and kOutOfRange for an instant in the future.
void settle(const Opened& opened, std::span<const std::size_t> parts, std::int64_t latest_ns, std::int64_t settle_ns);

// Now and so much later, without running over.
std::int64_t deadline_after(std::int64_t wait_ns);

}  // namespace powerprobe::capi
