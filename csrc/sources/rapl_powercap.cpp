// SPDX-License-Identifier: MIT
#include "sources/rapl_powercap.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <map>
#include <system_error>
#include <tuple>
#include <utility>

#include "sources/cpuinfo.hpp"
#include "sources/domains.hpp"
#include "sources/sysfs.hpp"
#include "sources/topology.hpp"

namespace powerprobe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kName = "rapl_powercap";
constexpr std::uint64_t kCounterMax = 0xFFFFFFFF;  // RAPL counters have 32 bits, with TPMI too
constexpr double kDramUnitNj = 1e9 / 65536;        // fixed on most Intel servers, whatever the unit register says
constexpr int kBroadwellD = 0x56;

// More watts than any package can take, for telling wraps from resets.
constexpr double kMaxWatts = 10'000.0;
// A 15 W laptop package bursts to several times its long-term limit.
constexpr double kMinMaxWatts = 250.0;

// A zone's folder, as "intel-rapl-mmio:0:1" puts it: control type and indices from the outermost zone inwards.
struct Zone {
  std::string label;
  fs::path folder;
  bool is_mmio = false;
  std::vector<std::uint64_t> index;
  std::string name;  // what the kernel calls it: "package-0", "dram"
};

// Which package (and die) or platform a zone belongs to.
struct Place {
  bool is_platform = false;
  int package = -1;
  int die = -1;
};

std::optional<Zone> parse_label(const std::string& label) {
  const auto colon = label.find(':');
  if (colon == std::string::npos) return std::nullopt;
  const std::string type = label.substr(0, colon);
  if (type != "intel-rapl" && type != "intel-rapl-mmio") return std::nullopt;
  Zone zone;
  zone.label = label;
  zone.is_mmio = type == "intel-rapl-mmio";
  for (std::string_view rest = std::string_view(label).substr(colon + 1);;) {
    const auto next = rest.find(':');
    const auto index = parse_u64(rest.substr(0, next), 16);  // the kernel prints indices in hexadecimal
    if (!index) return std::nullopt;
    zone.index.push_back(*index);
    if (next == std::string_view::npos) return zone;
    rest.remove_prefix(next + 1);
  }
}

std::optional<int> parse_id(std::string_view text) {
  const auto id = parse_u64(text);
  if (!id || *id > 0xFFFF) return std::nullopt;
  return static_cast<int>(*id);
}

// "package-1", "package-1-die-0", "psys", "psys-1".
std::optional<Place> parse_place(std::string_view name) {
  if (name == "psys") return Place{true, 0, -1};
  Place place;
  if (name.starts_with("psys-")) {
    place.is_platform = true;
    name.remove_prefix(5);
  } else if (name.starts_with("package-")) {
    name.remove_prefix(8);
  } else {
    return std::nullopt;
  }
  const auto die = name.find("-die-");
  const auto package = parse_id(name.substr(0, die));
  if (!package) return std::nullopt;
  place.package = *package;
  if (die == std::string_view::npos) return place;
  const auto number = parse_id(name.substr(die + 5));
  if (!number) return std::nullopt;
  place.die = *number;
  return place;
}

// What the kernel says it never asks the zone to exceed, and far above it.
double max_watts(const fs::path& folder) {
  double watts = 0.0;
  for (int constraint = 0; constraint < 4; ++constraint) {
    const auto text = try_read_text(folder / ("constraint_" + std::to_string(constraint) + "_max_power_uw"));
    const auto microwatts = text ? parse_u64(*text) : std::nullopt;
    if (microwatts) watts = std::max(watts, static_cast<double>(*microwatts) * 1e-6);
  }
  if (watts < 1.0 || watts * 4 > kMaxWatts) return kMaxWatts;
  return std::max(watts * 4, kMinMaxWatts);
}

class Search {
 public:
  Search(const Roots& roots, const Wanted& wanted, Found& found)
      : folder_(roots.sys / "class/powercap"),
        roots_(roots),
        wanted_(wanted),
        found_(found),
        cpu_(read_cpuinfo(roots.proc)),
        topology_(read_topology(roots.sys)) {}

  void run() {
    const std::vector<Zone> zones = list();
    platforms_ = std::count_if(zones.begin(), zones.end(), [](const Zone& zone) {
      const auto place = parse_place(zone.name);
      return place && place->is_platform;
    });
    // Sorted: a zone comes right before its sub-zones, and intel-rapl before its twin.
    for (auto first = zones.begin(); first != zones.end();) {
      const auto last = std::find_if(first, zones.end(), [&](const Zone& zone) {
        return zone.is_mmio != first->is_mmio || zone.index.front() != first->index.front();
      });
      add_group({first, last});
      first = last;
    }
  }

 private:
  void refuse(const fs::path& path, std::string reason, std::string remedy = {}, int error = 0) {
    found_.refusals.push_back({kName, path.string(), std::move(reason), std::move(remedy), error});
  }

  std::vector<Zone> list() {
    const std::size_t before = found_.refusals.size();
    std::vector<Zone> zones;
    bool is_hidden = false;
    std::error_code failed;
    for (fs::directory_iterator entry(folder_, failed), end; !failed && entry != end; entry.increment(failed)) {
      const std::string label = entry->path().filename().string();
      std::error_code ignored;
      if (!fs::exists(entry->path(), ignored)) is_hidden = true;  // the link's other end is covered
      auto zone = parse_label(label);
      if (!zone || is_hidden) continue;
      zone->folder = entry->path();
      try {
        zone->name = read_text(zone->folder / "name");
        zones.push_back(std::move(*zone));
      } catch (const Error& error) {
        refuse(zone->folder / "name", "the zone does not tell its name: " + message(error.error()), {}, error.error());
      }
    }
    if (is_hidden) {
      refuse(folder_, "the zones are hidden from this container (since 2023 Docker covers devices/virtual/powercap)",
             "podman run --security-opt unmask=/sys/devices/virtual/powercap ..., or "
             "docker run --security-opt systempaths=unconfined ...");
    } else if (zones.empty() && found_.refusals.size() == before) {
      refuse_all(failed.value());
    }
    std::sort(zones.begin(), zones.end(),
              [](const Zone& a, const Zone& b) { return std::tie(a.is_mmio, a.index) < std::tie(b.is_mmio, b.index); });
    return zones;
  }

  // There is no zone at all: which of the reasons is it?
  void refuse_all(int error) {
    if (cpu_.vendor.empty()) return refuse(folder_, "this kind of processor has no RAPL counters", {}, error);
    if (cpu_.hypervisor) {
      return refuse(folder_,
                    "no RAPL zone in this virtual machine: KVM answers RAPL reads with 0 and the driver gives up",
                    "measure on the host, or pass the counter on: QEMU 9.1 or newer with -accel kvm,rapl=true; then "
                    "sudo modprobe intel_rapl_msr",
                    error);
    }
    std::error_code ignored;
    if (error != 0) return refuse(folder_, "the kernel is built without powercap: " + message(error), {}, error);
    if (fs::exists(roots_.sys / "module/intel_rapl_msr", ignored)) {
      return refuse(folder_, "the RAPL driver is loaded but found no counter that it knows on this processor");
    }
    refuse(folder_, "the RAPL driver is not loaded", "sudo modprobe intel_rapl_msr");
  }

  void add_group(const std::vector<Zone>& zones) {
    std::vector<ChannelInfo> channels;
    std::vector<EnergyFile> files;
    const auto place = zones.front().index.size() == 1 ? parse_place(zones.front().name) : std::nullopt;
    for (const Zone& zone : zones) {
      const auto channel = describe(zone, place);
      if (!channel || !wanted_(*channel)) continue;
      const auto taken = taken_.find(channel->name);
      if (taken != taken_.end()) {
        refuse(channel->path, "the same counter as " + taken->second);
        continue;
      }
      try {
        files.emplace_back(channel->path);
        channels.push_back(*channel);
        taken_[channel->name] = zone.label;
      } catch (const Error& error) {
        refuse(channel->path, error.what(), error.kind() == ErrorKind::kPermission ? permission_remedy() : "",
               error.error());
      }
    }
    if (channels.empty()) return;
    found_.sources.push_back(std::make_unique<RaplPowercap>(std::move(channels), std::move(files)));
  }

  std::optional<ChannelInfo> describe(const Zone& zone, const std::optional<Place>& outer) {
    ChannelInfo channel;
    channel.source = kName;
    channel.path = (zone.folder / "energy_uj").string();
    const auto own = parse_place(zone.name);
    const auto place = own ? own : outer;
    const bool is_part = zone.name == "core" || zone.name == "uncore" || zone.name == "dram";
    if (!place || (!own && !is_part)) {
      refuse(channel.path, "a zone called '" + zone.name + "' is not known here; please report it");
      return std::nullopt;
    }
    channel.domain = place->is_platform ? "psys" : own ? "package" : zone.name;
    // One platform counter is the whole machine's, whichever package answers for it (not always the first).
    if (!place->is_platform || platforms_ > 1) channel.package = place->package;
    // AMD has one counter for each socket; kernels that show one for each die show the same one several times.
    if (!cpu_.is_amd()) channel.die = place->die;
    if (const Cpu* lead = lead_cpu(place->package, channel.die)) {
      channel.cpu = lead->cpu;
      // AMD's core register belongs to the core that reads it, and the kernel reads it on the package's first CPU.
      if (cpu_.is_amd() && channel.domain == "core") channel.core = lead->core;
    }
    if (cpu_.is_amd() && channel.domain == "core" && channel.core < 0) {
      refuse(channel.path, "it counts a single core, and the kernel does not tell which");
      return std::nullopt;
    }
    channel.name = channel_name(channel.domain, channel.package, channel.die, channel.core);
    channel.update_period_ns = 1'000'000;
    channel.stale_ns = place->is_platform ? 100'000'000 : 20'000'000;
    channel.max_watts = max_watts(zone.folder);
    set_unit(channel, zone);
    return channel;
  }

  void set_unit(ChannelInfo& channel, const Zone& zone) const {
    const auto text = try_read_text(zone.folder / "max_energy_range_uj");
    const PowercapRange range = powercap_range(text ? parse_u64(*text) : std::nullopt);
    channel.joules_per_count = 1e-6;
    channel.modulus = range.modulus;
    if (range.unit_nj == 0) return;
    double unit_nj = exact_unit_nj(range.unit_nj);
    // The driver misses Broadwell-D's fixed unit and shows four times its energy; perf, turbostat and PCM know it.
    if (cpu_.is_intel() && cpu_.family == 6 && cpu_.model == kBroadwellD && channel.domain == "dram") {
      unit_nj = kDramUnitNj;
    }
    channel.joules_per_count = 1e-6 * unit_nj / static_cast<double>(range.unit_nj);
    channel.quantum_joules = unit_nj * 1e-9;
  }

  [[nodiscard]] const Cpu* lead_cpu(int package, int die) const {
    const auto lead = std::find_if(topology_.begin(), topology_.end(), [&](const Cpu& cpu) {
      return cpu.package == package && (die < 0 || cpu.die == die);
    });
    return lead == topology_.end() ? nullptr : &*lead;
  }

  // The same text for every file, so that it need be shown only once.
  [[nodiscard]] std::string permission_remedy() const {
    const std::string files = (folder_ / "intel-rapl*:*/energy_uj").string();
    const auto paranoid = try_read_text(roots_.proc / "sys/kernel/perf_event_paranoid");
    // Debian and Ubuntu know levels above 2, at which CAP_PERFMON does not count.
    const bool is_shut = paranoid && parse_u64(*paranoid).value_or(0) > 2;
    return "run with CAP_PERFMON and the same counters come through perf: " +
           std::string(is_shut ? "sudo sysctl kernel.perf_event_paranoid=2 && " : "") +
           "sudo setpriv --reuid=$(id -u) --regid=$(id -g) --init-groups --inh-caps=+perfmon --ambient-caps=+perfmon "
           "COMMAND; or open the files to your group until the next boot: sudo chgrp $(id -gn) " +
           files + " && sudo chmod g+r " + files + " (for good: a line 'z " + files +
           " 0440 root GROUP -' in /etc/tmpfiles.d/powerprobe.conf). Whoever can read them can spy on other processes' "
           "secrets (PLATYPUS, CVE-2020-8694): do not open them to everybody on a shared machine";
  }

  static std::string message(int error) { return std::generic_category().message(error); }

  fs::path folder_;
  const Roots& roots_;
  const Wanted& wanted_;
  Found& found_;
  CpuIdentity cpu_;
  std::vector<Cpu> topology_;
  std::map<std::string, std::string> taken_;  // channel name -> label of the zone that gives it
  std::ptrdiff_t platforms_ = 0;
};

}  // namespace

void find_rapl_powercap(const Roots& roots, const Wanted& wanted, Found& found) { Search(roots, wanted, found).run(); }

PowercapRange powercap_range(std::optional<std::uint64_t> range_uj) noexcept {
  if (!range_uj || *range_uj == 0) return {};
  // range = floor((2^32 - 1) x unit / 1000); a unit one larger moves the range by millions, so only one can fit.
  if (*range_uj <= UINT64_MAX / 1000) {
    const std::uint64_t unit_nj = (*range_uj * 1000 + kCounterMax - 1) / kCounterMax;
    if (unit_nj <= UINT64_MAX / (kCounterMax + 1) && kCounterMax * unit_nj / 1000 == *range_uj) {
      return {((kCounterMax + 1) * unit_nj + 500) / 1000, unit_nj};
    }
  }
  return {*range_uj + 1, 0};
}

double exact_unit_nj(std::uint64_t unit_nj) noexcept {
  // The driver's word for the DRAM unit of Haswell-X to Ice Lake-X. The register counts 2^-16 J; perf has it right.
  if (unit_nj == 15'300) return kDramUnitNj;
  for (int power = 0; power < 30; ++power) {
    if (std::uint64_t{1'000'000'000} >> power == unit_nj) return std::ldexp(1e9, -power);
  }
  return static_cast<double>(unit_nj);
}

Reading parse_energy(std::string_view text) noexcept {
  if (text.ends_with('\n')) text.remove_suffix(1);
  Reading reading;
  if (const auto count = parse_u64(text)) {
    reading.count = *count;
  } else {
    reading.status = ReadStatus::kRetry;
    reading.error = EBADMSG;
  }
  return reading;
}

ReadStatus powercap_status(int error) noexcept {
  switch (error) {
    case EIO:  // the register could not be read this time
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENOMEM:
      return ReadStatus::kRetry;
    case ENODEV:  // what sysfs answers once the zone is taken out: driver unloaded, last CPU of the package offline
    case ENXIO:
    case ENOENT:
      return ReadStatus::kGone;
    default:
      return ReadStatus::kFatal;
  }
}

EnergyFile::EnergyFile(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  const int error = fd_ < 0 ? errno : read().error;
  if (error == 0) return;
  if (fd_ >= 0) ::close(fd_);
  const bool is_denied = error == EACCES || error == EPERM;
  const std::string what = is_denied          ? "this user may not read the counter"
                           : error == EBADMSG ? "the counter's file holds no number"
                                              : "the counter cannot be read: " + std::generic_category().message(error);
  throw Error(is_denied ? ErrorKind::kPermission : ErrorKind::kUnavailable, what, path.string(), error);
}

EnergyFile::EnergyFile(EnergyFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

EnergyFile::~EnergyFile() {
  if (fd_ >= 0) ::close(fd_);
}

Reading EnergyFile::read() const noexcept {
  std::array<char, 32> text;  // 20 digits at most
  ssize_t size = 0;
  do {
    size = ::pread(fd_, text.data(), text.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size >= 0) return parse_energy({text.data(), static_cast<std::size_t>(size)});
  Reading failed;
  failed.error = errno;
  failed.status = powercap_status(failed.error);
  return failed;
}

RaplPowercap::RaplPowercap(std::vector<ChannelInfo> channels, std::vector<EnergyFile> files)
    : channels_(std::move(channels)), files_(std::move(files)) {}

void RaplPowercap::read(std::span<Reading> out) noexcept {
  for (std::size_t i = 0; i < files_.size(); ++i) out[i] = files_[i].read();
}

}  // namespace powerprobe
