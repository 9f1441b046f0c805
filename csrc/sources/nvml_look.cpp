// SPDX-License-Identifier: MIT
#include "sources/nvml_look.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "core/error.hpp"
#include "sources/nvml_errors.hpp"

namespace powerprobe {
namespace {

constexpr std::array kCandidates = {
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldEnergy, nvml::kScopeGpu},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldTotalEnergy, nvml::kScopeGpu},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldPowerInstant, nvml::kScopeGpu},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldPowerAverage, nvml::kScopeGpu},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldEnergy, nvml::kScopeModule},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldPowerInstant, nvml::kScopeModule},
    NvmlWay{NvmlWay::Call::kField, nvml::kFieldPowerInstant, nvml::kScopeMemory},
};

// The fields of a board that answer.
class Fields {
 public:
  Fields(const NvmlApi& api, NvmlDevice device) {
    for (std::size_t i = 0; i < kCandidates.size(); ++i) {
      entries_[i].field = kCandidates[i].field;
      entries_[i].scope = kCandidates[i].scope;
      entries_[i].result = nvml::kUnknown;
    }
    if (api.field_values == nullptr) return;
    if (api.field_values(device, static_cast<int>(entries_.size()), entries_.data()) == nvml::kSuccess) return;
    // Some drivers refuse the whole call for one field that they do not know.
    for (NvmlFieldValue& entry : entries_) {
      entry.result = nvml::kUnknown;
      const NvmlReturn code = api.field_values(device, 1, &entry);
      if (code != nvml::kSuccess) entry.result = code;
    }
  }

  [[nodiscard]] NvmlWay way(unsigned int field, unsigned int scope) const {
    const auto number = value(field, scope);
    if (!number) return {};
    // Without module or memory sensor a driver may say 0, and one that does not know scopes says the same for all of them.
    if (scope != nvml::kScopeGpu && (*number == 0 || number == value(field, nvml::kScopeGpu))) return {};
    return {NvmlWay::Call::kField, field, scope};
  }

  [[nodiscard]] std::optional<std::uint64_t> value(unsigned int field, unsigned int scope) const {
    std::uint64_t number = 0;
    for (const NvmlFieldValue& entry : entries_) {
      if (entry.field == field && entry.scope == scope && nvml_number(entry, number)) return number;
    }
    return std::nullopt;
  }

 private:
  std::array<NvmlFieldValue, kCandidates.size()> entries_{};
};

std::string text(NvmlReturn (*function)(NvmlDevice, char*, unsigned int), NvmlDevice device) {
  std::array<char, nvml::kTextSize> buffer{};
  if (function == nullptr || function(device, buffer.data(), buffer.size()) != nvml::kSuccess) return {};
  buffer.back() = '\0';
  return buffer.data();
}

void identify(const NvmlApi& api, NvmlBoardFacts& board, int driver) {
  NvmlPciInfo pci{};
  if (api.pci != nullptr && api.pci(board.device, &pci) == nvml::kSuccess) {
    pci.bus_id[sizeof pci.bus_id - 1] = '\0';
    board.pci = pci.bus_id;
  }
  board.uuid = text(api.uuid, board.device);
  board.model = text(api.name, board.device);
  int major = 0;
  int minor = 0;
  if (api.compute_capability == nullptr || api.compute_capability(board.device, &major, &minor) != nvml::kSuccess)
    major = minor = 0;
  board.sensors = nvml_sensors(major, minor, driver, board.model);
  unsigned int cores = 0;
  unsigned int mhz = 0;
  if (api.cores != nullptr && api.cores(board.device, &cores) == nvml::kSuccess && api.max_clock != nullptr &&
      api.max_clock(board.device, nvml::kClockSm, &mhz) == nvml::kSuccess) {
    board.speed = static_cast<double>(cores) * static_cast<double>(mhz);
  }
  unsigned int min_mw = 0;
  unsigned int max_mw = 0;
  if (api.limits == nullptr || api.limits(board.device, &min_mw, &max_mw) != nvml::kSuccess || max_mw == 0) {
    if (api.enforced_limit == nullptr || api.enforced_limit(board.device, &max_mw) != nvml::kSuccess) max_mw = 0;
  }
  board.limit_watts = static_cast<double>(max_mw) * 1e-3;
}

void find_instances(const NvmlApi& api, NvmlBoardFacts& board) {
  unsigned int current = 0;
  unsigned int pending = 0;
  unsigned int most = 0;
  if (api.mig_mode == nullptr || api.mig_mode(board.device, &current, &pending) != nvml::kSuccess || current == 0) return;
  if (api.mig_count == nullptr || api.mig_count(board.device, &most) != nvml::kSuccess || api.mig_device == nullptr) return;
  for (unsigned int i = 0; i < most; ++i) {
    NvmlDevice instance = nullptr;
    if (api.mig_device(board.device, i, &instance) != nvml::kSuccess) continue;  // numbers in use need not be in a row
    std::string uuid = text(api.uuid, instance);
    if (!uuid.empty()) board.instances.push_back(std::move(uuid));
  }
}

}  // namespace

bool nvml_number(const NvmlFieldValue& entry, std::uint64_t& number) noexcept {
  if (entry.result != nvml::kSuccess) return false;
  switch (entry.value_type) {
    case nvml::kTypeUnsigned:
      number = entry.value.as_unsigned;
      return true;
    case nvml::kTypeUnsignedLong:
      number = entry.value.as_unsigned_long;
      return true;
    case nvml::kTypeUnsignedLongLong:
      number = entry.value.as_unsigned_long_long;
      return true;
    default:
      return false;
  }
}

NvmlBoardFacts look_at_board(const NvmlApi& api, int index, int driver) {
  NvmlBoardFacts board;
  board.index = index;
  const std::string name = "GPU " + std::to_string(index);
  const NvmlReturn opened = api.device(static_cast<unsigned int>(index), &board.device);
  if (opened != nvml::kSuccess) throw nvml_error(api, opened, name, index);
  identify(api, board, driver);
  find_instances(api, board);

  const Fields fields(api, board.device);
  board.counter = fields.way(nvml::kFieldEnergy, nvml::kScopeGpu);
  if (!board.counter) board.counter = fields.way(nvml::kFieldTotalEnergy, nvml::kScopeGpu);
  board.instant = fields.way(nvml::kFieldPowerInstant, nvml::kScopeGpu);
  board.average = fields.way(nvml::kFieldPowerAverage, nvml::kScopeGpu);
  board.module_counter = fields.way(nvml::kFieldEnergy, nvml::kScopeModule);
  board.module_power = fields.way(nvml::kFieldPowerInstant, nvml::kScopeModule);
  board.memory_power = fields.way(nvml::kFieldPowerInstant, nvml::kScopeMemory);

  NvmlReturn code = nvml::kNotSupported;
  if (!board.counter && api.energy != nullptr) {
    unsigned long long mj = 0;
    code = api.energy(board.device, &mj);
    if (code == nvml::kSuccess) board.counter.call = NvmlWay::Call::kEnergy;
  }
  std::optional<std::uint64_t> instant_mw = fields.value(nvml::kFieldPowerInstant, nvml::kScopeGpu);
  NvmlWay& usage = board.sensors.usage_is_average ? board.average : board.instant;
  if (!usage && api.power_usage != nullptr) {
    unsigned int mw = 0;
    const NvmlReturn answer = api.power_usage(board.device, &mw);
    if (answer == nvml::kSuccess) {
      usage.call = NvmlWay::Call::kPowerUsage;
      if (&usage == &board.instant) instant_mw = mw;
    }
    if (code == nvml::kNotSupported) code = answer;
  }
  if (instant_mw) board.buffer = NvmlBuffer::proven(api, board.device, board.sensors.instant, *instant_mw);
  if (board.counter || board.instant || board.average || board.module_counter || board.module_power) return board;
  const std::string path = board.pci.empty() ? name : board.pci;
  if (code != nvml::kSuccess && code != nvml::kNotSupported) throw nvml_error(api, code, path, index);
  throw Error(ErrorKind::kUnavailable, name + " (" + board.model + ") has neither an energy counter nor a power reading", path,
              EOPNOTSUPP, "virtual GPUs and many small boards have none; measure on the host where this is a virtual GPU");
}

}  // namespace powerprobe
