// SPDX-License-Identifier: MIT
// RAPL energy counters through the kernel's `power` and `power_core` PMUs: one source per package (per die where dies
// have counters of their own), opened on the caller's thread and read by its sampler.
//
// The count is 64 bits wide, yet it can fall by 2^32 hardware units: arch/x86/events/rapl.c takes the difference of two
// register readings as signed, so 2^31 to 2^32 units between two of them (above 200 W, when nobody reads for minutes)
// count backwards; the PMU of intel_rapl_common.c (TPMI) does not handle the register's wrap at all. So `modulus` is
// 2^32 hardware units, in counts: by that much a count that fell has to be corrected. A count may well grow beyond it,
// and where two such falls are possible between two readings nothing can be repaired: read every ten seconds. RaplUnit
// finds the unit while opening. A domain that does not move meanwhile gets the unit of its package's counter where the
// hardware shares one (core, uncore); otherwise its modulus is 0 and a count that falls is taken for a reset, which
// loses energy but never invents any.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/source.hpp"
#include "sources/found.hpp"
#include "sources/perf_event.hpp"

namespace powerprobe {

class RaplPerf final : public Source {
 public:
  // Adds a channel and opens its event. Gives 0, or errno and stays as it was.
  int add(const ChannelInfo& info, const PerfEvent& event);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override { events_.read(out); }

  [[nodiscard]] std::size_t system_calls() const noexcept { return events_.groups(); }  // per read()

 private:
  std::vector<ChannelInfo> channels_;
  PerfEvents events_;
};

// While opening, the counters are watched for 25 ms at most; 100 ms where a psys stands still, which is then refused.
void find_rapl_perf(const Roots& roots, const Wanted& wanted, Found& found);

}  // namespace powerprobe
