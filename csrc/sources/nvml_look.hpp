// SPDX-License-Identifier: MIT
// What a board is and which of its energies and powers can be read which way: every question asked once while opening, on a
// thread that may hang in it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sources/nvml_api.hpp"
#include "sources/nvml_buffer.hpp"
#include "sources/nvml_sensors.hpp"

namespace powerprobe {

// How one number of a board is had.
struct NvmlWay {
  enum class Call : std::uint8_t { kNone, kField, kEnergy, kPowerUsage };
  Call call = Call::kNone;
  unsigned int field = 0;
  unsigned int scope = 0;
  explicit operator bool() const noexcept { return call != Call::kNone; }
};

struct NvmlBoardFacts {
  int index = -1;
  NvmlDevice device = nullptr;
  std::string pci;
  std::string uuid;
  std::string model;
  std::vector<std::string> instances;  // UUIDs
  double speed = 0.0;
  double limit_watts = 0.0;  // 0: not known
  NvmlSensors sensors;

  NvmlWay counter;  // millijoules of the board
  NvmlWay instant;  // milliwatts of the board
  NvmlWay average;
  NvmlWay module_counter;
  NvmlWay module_power;
  NvmlWay memory_power;
  std::optional<NvmlBuffer> buffer;  // proven: then the instant readings come from it
};

// Whether a field's entry holds a whole number, and which.
bool nvml_number(const NvmlFieldValue& entry, std::uint64_t& number) noexcept;

// Throws Error for a board that may not be used or that has neither counter nor power reading. `driver` is the major number of
// the driver's version, 0 when not known.
NvmlBoardFacts look_at_board(const NvmlApi& api, int index, int driver);

}  // namespace powerprobe
