// SPDX-License-Identifier: MIT
#include "sources/nvml.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "core/error.hpp"
#include "core/within.hpp"
#include "sources/domains.hpp"
#include "sources/nvml_api.hpp"
#include "sources/nvml_errors.hpp"

namespace powerprobe {
namespace {

constexpr const char* kSource = "nvml";
constexpr auto kAnswerTime = std::chrono::seconds(2);
constexpr const char* kHangRemedy = "look for the reason with: nvidia-smi; sudo dmesg | grep -i -e xid -e nvrm";

constexpr std::int64_t kMs = 1'000'000;
// The counter moves every 20 to 100 ms; three times the longest.
constexpr std::int64_t kCounterStaleNs = 300 * kMs;
constexpr std::int64_t kLeastPauseNs = kMs;
// Boards exceed their limit for milliseconds at a time.
constexpr double kAboveLimit = 2.0;
// Of boards that do not tell their limit, and of modules, which are a board and a processor.
constexpr double kUnknownLimitWatts = 2'500.0;
constexpr std::int64_t kUnknownWindowNs = 1'000 * kMs;

std::string name_of(const char* domain, int index, const char* reading = "") {
  std::string name = channel_name(domain, index);
  if (*reading != '\0') name.append("-").append(reading);
  return name;
}

ChannelInfo named(const char* domain, int index, const char* reading, const std::string& name) {
  ChannelInfo channel;
  channel.name = name;
  channel.source = kSource;
  channel.domain = domain;
  channel.gpu = index;
  channel.reading = reading;
  return channel;
}

// What the sensor can miss in each period while it looks away.
double blind_joules(const NvmlTiming& timing, double limit_watts) {
  return timing.is_part_time() ? limit_watts * static_cast<double>(timing.period_ns - timing.window_ns) * 1e-9 : 0.0;
}

class Parts {
 public:
  Parts(const NvmlBoardFacts& board, const Wanted& wanted) : board_(board), wanted_(wanted) {}

  std::vector<NvmlBoard::Part> all() {
    const int n = board_.index;
    const bool has_counter = static_cast<bool>(board_.counter);
    const bool gpu_is_instant = !has_counter && board_.instant;
    const bool gpu_is_average = !has_counter && !board_.instant && board_.average;

    std::optional<NvmlBoard::Part> counter;
    if (has_counter) {
      counter = part("gpu", "", name_of("gpu", n), board_.counter, {}, board_limit());
      if (!wanted_(counter->channel)) counter.reset();
    }
    if (board_.instant) {
      NvmlBoard::Part instant = part("gpu", "instant", name_of("gpu", n, gpu_is_instant ? "" : "instant"), board_.instant,
                                     board_.sensors.instant, board_limit());
      if (board_.buffer) use_buffer(instant);
      if (counter && can_guide(instant, counter->channel)) counter->channel.guide = static_cast<int>(parts_.size());
      if (counter || wanted_(instant.channel)) parts_.push_back(std::move(instant));
    }
    if (board_.average) {
      add(part("gpu", "average", name_of("gpu", n, gpu_is_average ? "" : "average"), board_.average, board_.sensors.average,
               board_limit()));
    }
    if (counter) parts_.push_back(std::move(*counter));
    if (board_.module_counter) {
      add(part("module", "", name_of("module", n), board_.module_counter, {}, kUnknownLimitWatts));
    } else if (board_.module_power) {
      add(part("module", "instant", name_of("module", n), board_.module_power, board_.sensors.instant, kUnknownLimitWatts));
    }
    if (board_.memory_power) {
      add(part("vram", "instant", name_of("vram", n), board_.memory_power, board_.sensors.instant, board_limit()));
    }
    return std::move(parts_);
  }

 private:
  // Whether power readings tell more of the way between two steps of the counter than a straight line. One reading a step does
  // if it is about all of it; what a part-time sensor happened to see once a step was found to mislead more often than to help.
  static bool can_guide(const NvmlBoard::Part& readings, const ChannelInfo& counter) {
    return !readings.timing.is_part_time() || 2 * readings.channel.update_period_ns <= counter.update_period_ns;
  }

  void add(NvmlBoard::Part part) {
    if (wanted_(part.channel)) parts_.push_back(std::move(part));
  }

  [[nodiscard]] double board_limit() const { return board_.limit_watts > 0.0 ? board_.limit_watts : kUnknownLimitWatts; }

  // `reading` empty: a counter.
  [[nodiscard]] NvmlBoard::Part part(const char* domain, const char* reading, const std::string& name, const NvmlWay& way,
                                     const NvmlTiming& timing, double limit_watts) const {
    ChannelInfo channel = named(domain, board_.index, reading, name);
    channel.path = path(way);
    channel.uuid = board_.uuid;
    channel.pci = board_.pci;
    channel.model = board_.model;
    channel.instances = board_.instances;
    channel.speed = board_.speed;
    channel.max_watts = kAboveLimit * limit_watts;
    channel.least_pause_ns = kLeastPauseNs;
    if (*reading == '\0') {
      channel.joules_per_count = 1e-3;
      channel.update_period_ns = board_.sensors.counter_period_ns;
      channel.stale_ns = kCounterStaleNs;
      channel.blind_joules = blind_joules(board_.sensors.instant, limit_watts);
    } else {
      channel.provenance = Provenance::kIntegrated;
      channel.joules_per_count = 1e-6;
      set_timing(channel, timing, timing.period_ns, limit_watts);
    }
    return {std::move(channel), way, timing};
  }

  static void set_timing(ChannelInfo& channel, const NvmlTiming& timing, std::int64_t period_ns, double limit_watts) {
    channel.update_period_ns = period_ns;
    channel.stale_ns = 3 * period_ns;
    channel.window_ns = timing.window_ns;
    const std::int64_t window_ns = timing.window_ns > 0 ? timing.window_ns : kUnknownWindowNs;
    channel.spill_joules = channel.max_watts * static_cast<double>(window_ns + period_ns) * 0.5e-9;
    // More readings do not prove that they see more: the share of time that they miss is taken to be the same.
    channel.blind_joules =
        blind_joules(timing, limit_watts) * static_cast<double>(period_ns) / static_cast<double>(timing.period_ns);
  }

  void use_buffer(NvmlBoard::Part& part) const {
    part.buffer = board_.buffer;
    part.channel.path = located("nvmlDeviceGetSamples");
    const std::int64_t distance_ns = board_.buffer->distance_ns();
    set_timing(part.channel, part.timing, distance_ns, board_limit());
    part.channel.window_ns = std::min(part.timing.window_ns, distance_ns);  // as NvmlBuffer takes it
  }

  [[nodiscard]] std::string path(const NvmlWay& way) const {
    switch (way.call) {
      case NvmlWay::Call::kEnergy:
        return located("nvmlDeviceGetTotalEnergyConsumption");
      case NvmlWay::Call::kPowerUsage:
        return located("nvmlDeviceGetPowerUsage");
      case NvmlWay::Call::kField:
      case NvmlWay::Call::kNone:
        break;
    }
    std::string text = "nvml field " + std::to_string(way.field);
    if (way.scope != nvml::kScopeGpu) text += " scope " + std::to_string(way.scope);
    return located(text);
  }

  [[nodiscard]] std::string located(std::string text) const {
    text += ", " + (board_.pci.empty() ? "GPU " + std::to_string(board_.index) : board_.pci);
    if (!board_.instances.empty()) {
      text += ": the whole board, of which its " + std::to_string(board_.instances.size()) + " MIG instances are parts";
    }
    return text;
  }

  const NvmlBoardFacts& board_;
  const Wanted& wanted_;
  std::vector<NvmlBoard::Part> parts_;
};

// Whether any channel that the board may have is wanted. A board that nobody asks for is not touched: it might hang.
bool is_wanted(const Wanted& wanted, int n) {
  const std::array channels = {named("gpu", n, "", name_of("gpu", n)), named("gpu", n, "instant", name_of("gpu", n, "instant")),
                               named("gpu", n, "average", name_of("gpu", n, "average")),
                               named("module", n, "", name_of("module", n)), named("vram", n, "instant", name_of("vram", n))};
  for (const ChannelInfo& channel : channels) {
    if (wanted(channel)) return true;
  }
  return false;
}

struct Machine {
  int boards = 0;
  int driver = 0;  // major number of its version; 0: not known
};

Machine look_at_machine(const NvmlApi& api, const std::string& library) {
  unsigned int count = 0;
  const NvmlReturn code = api.count(&count);
  if (code != nvml::kSuccess) throw nvml_error(api, code, library);
  if (count == 0) {
    throw Error(ErrorKind::kUnavailable, "the NVIDIA driver finds no GPU", library, ENODEV,
                "see whether there is one with: lspci | grep -i nvidia; start a container with --gpus all");
  }
  std::array<char, nvml::kTextSize> version{};
  if (api.driver_version != nullptr) (void)api.driver_version(version.data(), static_cast<unsigned int>(version.size() - 1));
  return {static_cast<int>(count), static_cast<int>(std::strtol(version.data(), nullptr, 10))};  // "550.54.15"
}

Error no_answer(const std::string& path, const std::string& who) {
  return {ErrorKind::kUnavailable, who + " did not answer within " + std::to_string(kAnswerTime.count()) + " s", path, ETIMEDOUT,
          kHangRemedy};
}

}  // namespace

std::vector<NvmlBoard::Part> nvml_parts(const NvmlBoardFacts& board, const Wanted& wanted) { return Parts(board, wanted).all(); }

void find_nvml(const Roots& roots, const Wanted& wanted, Found& found) {
  try {
    const std::shared_ptr<const NvmlApi> api = open_nvml(roots);
    const auto machine = run_within(kAnswerTime, [api, library = roots.nvml] { return look_at_machine(*api, library); });
    if (!machine) throw no_answer(roots.nvml, "the driver");
    for (int index = 0; index < machine->boards; ++index) {
      if (!is_wanted(wanted, index)) continue;
      try {
        const auto board =
            run_within(kAnswerTime, [api, index, driver = machine->driver] { return look_at_board(*api, index, driver); });
        const std::string name = "GPU " + std::to_string(index);
        if (!board) throw no_answer(name, name);
        std::vector<NvmlBoard::Part> parts = nvml_parts(*board, wanted);
        if (!parts.empty()) found.sources.push_back(std::make_unique<NvmlBoard>(api, board->device, std::move(parts)));
      } catch (const Error& error) {
        found.refusals.push_back(refusal_from(kSource, error));
      }
    }
  } catch (const Error& error) {
    found.refusals.push_back(refusal_from(kSource, error));
  }
}

}  // namespace powerprobe
