// SPDX-License-Identifier: MIT
// RAPL counters read straight from the processor's registers through /dev/cpu/N/msr (or msr-safe's twin of it), for
// Intel, AMD and Hygon. The finest way there is (exact units, the hardware's own time stamps) and the one that needs
// most rights. Opened on any thread, read by one sampler.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "core/source.hpp"
#include "sources/found.hpp"

namespace powerprobe {

// The registers of one CPU. Owns its descriptor.
class MsrFile {
 public:
  MsrFile() = default;
  MsrFile(MsrFile&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  MsrFile& operator=(MsrFile&& other) noexcept;
  ~MsrFile();

  // 0, or the errno of opening.
  int open(const std::filesystem::path& file);

  // 0 and the register's 64 bits in `value`, or an errno; EIO: there is no such register.
  int read(std::uint32_t register_number, std::uint64_t& value) const noexcept;

 private:
  int fd_ = -1;
};

// What the errno of a reading means for the next one.
ReadStatus msr_status(int error) noexcept;

// Energy registers that are read together: those of one package (or die), or one for each core of a package.
class RaplMsr final : public Source {
 public:
  struct Counter {
    std::uint32_t register_number = 0;
    std::size_t file = 0;     // index into the files
    bool is_stamped = false;  // the upper half is the time of the last update
  };

  // channels[i] is read from counters[i].
  RaplMsr(std::vector<MsrFile> files, std::vector<Counter> counters, std::vector<ChannelInfo> channels);

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override;

 private:
  std::vector<MsrFile> files_;
  std::vector<Counter> counters_;
  std::vector<ChannelInfo> channels_;
};

// One source per package (or die, where counters belong to dies), and on AMD a second one for its single cores. Takes
// up to 0.1 s where the stamped register 0x612 answers, which must then prove that it is one.
void find_rapl_msr(const Roots& roots, const Wanted& wanted, Found& found);

}  // namespace powerprobe
