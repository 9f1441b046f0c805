// SPDX-License-Identifier: MIT
// The RAPL counters as the kernel's powercap files show them: one source for each package (and the platform), opened on
// the caller's thread, read by its sampler.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/source.hpp"
#include "sources/found.hpp"

namespace powerprobe {

// Every zone of the control types intel-rapl (registers or TPMI) and intel-rapl-mmio, known by its name. A zone that
// shows a counter already taken, such as the MMIO twin of a package, is refused with the name of the other.
void find_rapl_powercap(const Roots& roots, const Wanted& wanted, Found& found);

// The rest is here for the tests.

// What max_energy_range_uj says about the counter behind energy_uj. The driver multiplies a 32-bit counter by an energy
// unit that it keeps in whole nanojoules, and cuts the product to whole microjoules.
struct PowercapRange {
  std::uint64_t modulus = 0;  // microjoules until energy_uj is back at zero; 0 when the range says nothing
  std::uint64_t unit_nj = 0;  // the driver's energy unit; 0 when the range is not that of a 32-bit counter
};
PowercapRange powercap_range(std::optional<std::uint64_t> range_uj) noexcept;

// The energy unit without what the driver cut off, in nanojoules: 61035 stands for 2^-14 J = 61035.15625 nJ.
double exact_unit_nj(std::uint64_t unit_nj) noexcept;

// What energy_uj held, or why there is no number in it.
Reading parse_energy(std::string_view text) noexcept;

// What an errno of reading energy_uj means for the channel.
ReadStatus powercap_status(int error) noexcept;

// One open energy_uj.
class EnergyFile {
 public:
  // Opens and reads once; throws Error.
  explicit EnergyFile(const std::filesystem::path& path);
  EnergyFile(EnergyFile&& other) noexcept;
  EnergyFile& operator=(EnergyFile&&) = delete;
  ~EnergyFile();

  [[nodiscard]] Reading read() const noexcept;

 private:
  int fd_;
};

class RaplPowercap : public Source {
 public:
  // channels[i] is read from files[i].
  RaplPowercap(std::vector<ChannelInfo> channels, std::vector<EnergyFile> files);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override;

 private:
  std::vector<ChannelInfo> channels_;
  std::vector<EnergyFile> files_;
};

}  // namespace powerprobe
