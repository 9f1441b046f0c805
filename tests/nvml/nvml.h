// SPDX-License-Identifier: MIT
// The part of the NVML interface that is faked, in our own words; no thread, declarations only.
#ifndef FAKE_NVML_NVML_H
#define FAKE_NVML_NVML_H

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

// A number in the shape of a pointer, see state.h.
typedef struct device* device_handle;

enum code {
  kSuccess = 0,
  kUninitialized = 1,
  kInvalidArgument = 2,
  kNotSupported = 3,
  kNotFound = 6,
  kInsufficientSize = 7,
};

enum value_type { kTypeUnsigned = 1, kTypeUnsignedLongLong = 3 };

union value {
  unsigned int unsigned_value;
  unsigned long long unsigned_long_long_value;
};

struct field_value {
  uint32_t field_id;
  uint32_t scope_id;
  int64_t timestamp_us;
  int64_t latency_us;
  uint32_t value_type;
  uint32_t code;
  union value value;
};

struct buffered_value {
  uint64_t timestamp_us;
  union value value;
};

struct pci_info {
  char legacy_bus_id[16];
  uint32_t domain;
  uint32_t bus;
  uint32_t device;
  uint32_t device_id;
  uint32_t subsystem_id;
  char bus_id[32];
};

struct process_info {
  unsigned int pid;
  unsigned long long bytes;
  unsigned int gpu_instance;
  unsigned int compute_instance;
};

struct violation_time {
  unsigned long long reference_us;
  unsigned long long violation_ns;
};

struct utilization {
  unsigned int gpu;
  unsigned int memory;
};

_Static_assert(sizeof(struct field_value) == 40, "a field value has 40 bytes");
_Static_assert(sizeof(struct buffered_value) == 16, "a buffered value has 16 bytes");
_Static_assert(sizeof(struct pci_info) == 68, "a PCI description has 68 bytes");

#endif
