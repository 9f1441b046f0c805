// SPDX-License-Identifier: MIT
// What is used of NVIDIA's management library: its types, and a table of its functions that is filled at run time, so that
// building needs nothing of NVIDIA's. Opened on any thread; the library says of itself that it may be called from any.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sources/found.hpp"

namespace powerprobe {

// Layouts and numbers as in nvml.h 12.9 and 13.5.
using NvmlDevice = struct NvmlDeviceOpaque*;
using NvmlReturn = int;

union NvmlValue {
  double as_double;
  unsigned int as_unsigned;
  unsigned long as_unsigned_long;
  unsigned long long as_unsigned_long_long;
};

struct NvmlFieldValue {
  unsigned int field;
  unsigned int scope;
  long long timestamp_us;  // since 1970
  long long latency_us;
  unsigned int value_type;
  NvmlReturn result;
  NvmlValue value;
};
static_assert(sizeof(NvmlFieldValue) == 40);

// What the library calls a sample.
struct NvmlBuffered {
  unsigned long long timestamp_us;  // since 1970
  NvmlValue value;
};
static_assert(sizeof(NvmlBuffered) == 16);

struct NvmlPciInfo {
  char legacy_bus_id[16];
  unsigned int domain;
  unsigned int bus;
  unsigned int device;
  unsigned int device_id;
  unsigned int subsystem_id;
  char bus_id[32];
};
static_assert(sizeof(NvmlPciInfo) == 68);

namespace nvml {

inline constexpr NvmlReturn kSuccess = 0;
inline constexpr NvmlReturn kUninitialized = 1;
inline constexpr NvmlReturn kInvalidArgument = 2;
inline constexpr NvmlReturn kNotSupported = 3;
inline constexpr NvmlReturn kNoPermission = 4;
inline constexpr NvmlReturn kNotFound = 6;
inline constexpr NvmlReturn kInsufficientSize = 7;
inline constexpr NvmlReturn kDriverNotLoaded = 9;
inline constexpr NvmlReturn kTimeout = 10;
inline constexpr NvmlReturn kFunctionNotFound = 13;
inline constexpr NvmlReturn kGpuIsLost = 15;
inline constexpr NvmlReturn kResetRequired = 16;
inline constexpr NvmlReturn kVersionMismatch = 18;
inline constexpr NvmlReturn kNoData = 21;
inline constexpr NvmlReturn kGpuNotFound = 28;
inline constexpr NvmlReturn kUnknown = 999;

inline constexpr unsigned int kTypeUnsigned = 1;
inline constexpr unsigned int kTypeUnsignedLong = 2;
inline constexpr unsigned int kTypeUnsignedLongLong = 3;

inline constexpr unsigned int kFieldTotalEnergy = 83;    // mJ
inline constexpr unsigned int kFieldPowerAverage = 185;  // mW
inline constexpr unsigned int kFieldPowerInstant = 186;  // mW
inline constexpr unsigned int kFieldEnergy = 191;        // mJ

inline constexpr unsigned int kScopeGpu = 0;
inline constexpr unsigned int kScopeModule = 1;
inline constexpr unsigned int kScopeMemory = 2;

inline constexpr int kBufferTotalPower = 0;  // mW
inline constexpr int kClockSm = 1;

inline constexpr unsigned int kTextSize = 96;  // enough for any name, UUID and version

}  // namespace nvml

// Every pointer but the first three may be null: older drivers lack newer functions.
struct NvmlApi {
  NvmlReturn (*init)() = nullptr;
  NvmlReturn (*count)(unsigned int*) = nullptr;
  NvmlReturn (*device)(unsigned int index, NvmlDevice*) = nullptr;

  const char* (*error_string)(NvmlReturn) = nullptr;
  NvmlReturn (*driver_version)(char*, unsigned int) = nullptr;
  NvmlReturn (*uuid)(NvmlDevice, char*, unsigned int) = nullptr;
  NvmlReturn (*name)(NvmlDevice, char*, unsigned int) = nullptr;
  NvmlReturn (*pci)(NvmlDevice, NvmlPciInfo*) = nullptr;
  NvmlReturn (*compute_capability)(NvmlDevice, int* major, int* minor) = nullptr;
  NvmlReturn (*cores)(NvmlDevice, unsigned int*) = nullptr;
  NvmlReturn (*max_clock)(NvmlDevice, int clock, unsigned int* mhz) = nullptr;
  NvmlReturn (*limits)(NvmlDevice, unsigned int* min_mw, unsigned int* max_mw) = nullptr;
  NvmlReturn (*enforced_limit)(NvmlDevice, unsigned int* mw) = nullptr;
  NvmlReturn (*mig_mode)(NvmlDevice, unsigned int* current, unsigned int* pending) = nullptr;
  NvmlReturn (*mig_count)(NvmlDevice, unsigned int*) = nullptr;
  NvmlReturn (*mig_device)(NvmlDevice, unsigned int index, NvmlDevice*) = nullptr;

  NvmlReturn (*energy)(NvmlDevice, unsigned long long* mj) = nullptr;
  NvmlReturn (*power_usage)(NvmlDevice, unsigned int* mw) = nullptr;
  NvmlReturn (*field_values)(NvmlDevice, int count, NvmlFieldValue*) = nullptr;
  NvmlReturn (*buffered)(NvmlDevice, int kind, unsigned long long newer_than_us, int* value_type, unsigned int* count,
                         NvmlBuffered*) = nullptr;
};

// The library loaded and initialised, once per process and name; a child of fork() initialises it anew, since nothing is said
// about inheriting it. It is never shut down or unloaded: a call that hangs (they do, on a sick board) would find its code gone.
// Throws Error with reason and remedy, also when the driver does not answer in time: where its persistence is off, initialising
// starts every board, seconds each.
inline constexpr std::chrono::seconds kNvmlInitTime{20};
std::shared_ptr<const NvmlApi> open_nvml(const Roots& roots, std::chrono::milliseconds time = kNvmlInitTime);

}  // namespace powerprobe
