// SPDX-License-Identifier: MIT
// Whether a register is a stamped twin of the package's energy: energy in its lower half, the time of the last update
// in its upper. Only the registers themselves can tell. Used while opening sources, on the caller's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

namespace powerprobe {

// The stamp of MSR 0x612: SDM volume 4 table 2-51; Intel's TPMI description has the same field.
inline constexpr double kStampTickNs = 10.0;
inline constexpr std::uint64_t kStampModulus = std::uint64_t{1} << 32;

// Gives 0 and the value, or an errno.
using ReadRegister = std::function<int(std::uint32_t register_number, std::uint64_t& value)>;

struct StampLook {
  std::int64_t before_ns = 0;  // the register was read between these two instants
  std::int64_t after_ns = 0;
  std::uint32_t stamp = 0;
};

// Nothing unless the register's energy is the package's at that moment, and its time that of an update and not of the
// reading: a clock that runs on between updates would put every edge too late and make bounds that do not hold.
std::optional<StampLook> look_at_stamp(const ReadRegister& read, std::uint32_t energy_register,
                                       std::uint32_t stamp_register);

// True if from one look to the next the stamps went on like the clock, as far as updates one period apart can tell. It
// takes looks that are many periods apart.
bool goes_like_the_clock(const StampLook& first, const StampLook& second, std::int64_t period_ns);

}  // namespace powerprobe
