// SPDX-License-Identifier: MIT
// The functions that tell what a board is and how it fares, which a library may be without; any thread.
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "answer.h"
#include "nvml.h"
#include "state.h"

EXPORT const char* nvmlErrorString(int code) {
  static const char* const kTexts[] = {
      "Success",
      "Uninitialized",
      "Invalid Argument",
      "Not Supported",
      "Insufficient Permissions",
      "Already Initialized",
      "Not Found",
      "Insufficient Size",
      "Insufficient External Power",
      "Driver Not Loaded",
      "Timeout",
      "Interrupt Request Issue",
      "NVML Shared Library Not Found",
      "Function Not Found",
      "Corrupted infoROM",
      "GPU is lost",
      "GPU requires reset",
      "The operating system has blocked the request.",
      "RM has detected an NVML/RM version mismatch.",
      "In use by another client",
      "Insufficient Memory",
      "No data",
  };
  return code >= 0 && (size_t)code < sizeof kTexts / sizeof *kTexts ? kTexts[code] : "Unknown Error";
}

EXPORT int nvmlSystemGetDriverVersion(char* version, unsigned int length) {
  struct call call;
  int code = begin_library_call(&call, __func__);
  if (code == kSuccess) code = answer_text(version, length, call.script->driver);
  return end_call(&call, code);
}

EXPORT int nvmlSystemGetNVMLVersion(char* version, unsigned int length) {
  struct call call;
  char text[2 * kTextSize];
  int code = begin_library_call(&call, __func__);
  snprintf(text, sizeof text, "12.%s", call.script->driver);
  if (code == kSuccess) code = answer_text(version, length, text);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char* uuid, device_handle* device) {
  struct call call;
  int code = begin_library_call(&call, __func__);
  if (code == kSuccess) code = uuid == NULL || device == NULL ? kInvalidArgument : kNotFound;
  for (size_t i = 0; code == kNotFound && i < call.script->board_count; ++i) {
    const struct board* board = &call.script->boards[i];
    int mig = -1;
    const char* name = board->uuid;
    while (strcmp(uuid, name) != 0 && (size_t)(mig + 1) < board->mig_count) name = board->migs[++mig];
    if (strcmp(uuid, name) != 0) continue;
    code = enter_board(&call, i);
    if (code == kSuccess) *device = handle_of(i, mig);
    break;
  }
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, device_handle* device) {
  struct call call;
  unsigned int domain, bus, slot;
  int code = begin_library_call(&call, __func__);
  if (code == kSuccess) code = bus_id == NULL || device == NULL ? kInvalidArgument : kNotFound;
  if (code == kNotFound && sscanf(bus_id, "%x:%x:%x", &domain, &bus, &slot) != 3) code = kInvalidArgument;
  for (size_t i = 0; code == kNotFound && i < call.script->board_count; ++i) {
    const struct board* board = &call.script->boards[i];
    if (domain != board->pci_domain || bus != board->pci_bus || slot != board->pci_device) continue;
    code = enter_board(&call, i);
    if (code == kSuccess) *device = handle_of(i, -1);
    break;
  }
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetPciInfo_v3(device_handle device, struct pci_info* info) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess && info == NULL) code = kInvalidArgument;
  if (code == kSuccess) {
    const struct board* board = call.board;
    *info = (struct pci_info){.domain = board->pci_domain, .bus = board->pci_bus, .device = board->pci_device};
    snprintf(info->legacy_bus_id, sizeof info->legacy_bus_id, "%04X:%02X:%02X.0", info->domain & 0xffff, info->bus & 0xff,
             info->device & 0xff);
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:%02X.0", info->domain, info->bus, info->device);
  }
  return end_call(&call, code);
}

// Functions that answer one number of the board.
#define ANSWER_NUMBER(function, number)                              \
  EXPORT int function(device_handle device, unsigned int* answer) {  \
    struct call call;                                                \
    int code = begin_call(&call, __func__, device);                  \
    if (code == kSuccess) code = answer_number(answer, (number));    \
    return end_call(&call, code);                                    \
  }

ANSWER_NUMBER(nvmlDeviceGetIndex, call.index)
ANSWER_NUMBER(nvmlDeviceGetArchitecture, call.board->arch)
ANSWER_NUMBER(nvmlDeviceGetNumGpuCores, call.board->cores)
ANSWER_NUMBER(nvmlDeviceGetPersistenceMode, call.board->persistence)
ANSWER_NUMBER(nvmlDeviceGetEnforcedPowerLimit, call.board->enforced_mw)
ANSWER_NUMBER(nvmlDeviceGetPowerManagementLimit, call.board->limit_mw)
ANSWER_NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, call.board->default_mw)

static int answer_numbers(unsigned int* first, unsigned int first_number, unsigned int* second, unsigned int second_number) {
  const int code = answer_number(first, first_number);
  return code == kSuccess ? answer_number(second, second_number) : code;
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(device_handle device, unsigned int* min_mw, unsigned int* max_mw) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_numbers(min_mw, call.board->min_mw, max_mw, call.board->max_mw);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetCudaComputeCapability(device_handle device, int* major, int* minor) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) {
    code = answer_numbers((unsigned int*)major, call.board->major, (unsigned int*)minor, call.board->minor);
  }
  return end_call(&call, code);
}

enum { kClockGraphics = 0, kClockSm = 1, kClockMemory = 2 };

static int answer_clock(const struct board* board, int type, bool highest, unsigned int* mhz) {
  if (type == kClockMemory) return answer_number(mhz, board->memory_clock_mhz[highest]);
  if (type == kClockGraphics || type == kClockSm) return answer_number(mhz, board->clock_mhz[highest]);
  return kNotSupported;
}

EXPORT int nvmlDeviceGetClockInfo(device_handle device, int type, unsigned int* mhz) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_clock(call.board, type, false, mhz);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetMaxClockInfo(device_handle device, int type, unsigned int* mhz) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_clock(call.board, type, true, mhz);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetTemperature(device_handle device, int place, unsigned int* temperature_c) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = place == 0 ? answer_number(temperature_c, call.board->temperature_c) : kInvalidArgument;
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetUtilizationRates(device_handle device, struct utilization* rates) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess && rates == NULL) code = kInvalidArgument;
  if (code == kSuccess) {
    *rates = (struct utilization){.gpu = call.board->utilization[0], .memory = call.board->utilization[1]};
  }
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetMigMode(device_handle device, unsigned int* now, unsigned int* pending) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess && call.board->mig_max == 0) code = kNotSupported;
  if (code == kSuccess) code = answer_numbers(now, call.board->mig_count > 0, pending, call.board->mig_count > 0);
  return end_call(&call, code);
}

ANSWER_NUMBER(nvmlDeviceGetMaxMigDeviceCount, call.board->mig_max)

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_handle device, unsigned int index, device_handle* mig) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess && (mig == NULL || index >= call.board->mig_max)) code = kInvalidArgument;
  if (code == kSuccess && index >= call.board->mig_count) code = kNotFound;
  if (code == kSuccess) *mig = handle_of(call.index, (int)index);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceIsMigDeviceHandle(device_handle device, unsigned int* is_mig) {
  struct call call;
  int code = begin_any_call(&call, __func__, device);
  if (code == kSuccess) code = answer_number(is_mig, call.mig >= 0);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_handle mig, device_handle* device) {
  struct call call;
  int code = begin_any_call(&call, __func__, mig);
  if (code == kSuccess && (device == NULL || call.mig < 0)) code = kInvalidArgument;
  if (code == kSuccess) *device = handle_of(call.index, -1);
  return end_call(&call, code);
}

static int answer_reasons(const struct call* call, unsigned long long* reasons) {
  if (reasons == NULL) return kInvalidArgument;
  *reasons = 0;
  for (size_t i = 0; i < call->board->throttles.count; ++i) {
    const struct span* span = &call->board->throttles.items[i];
    if (span->from_ns <= call->now_ns && call->now_ns < span->to_ns) *reasons |= span->mask;
  }
  return kSuccess;
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(device_handle device, unsigned long long* reasons) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_reasons(&call, reasons);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(device_handle device, unsigned long long* reasons) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_reasons(&call, reasons);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetViolationStatus(device_handle device, unsigned int policy, struct violation_time* violation) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess && violation == NULL) code = kInvalidArgument;
  if (code == kSuccess) {
    *violation = (struct violation_time){.reference_us = (uint64_t)wall_us(call.script, call.now_ns)};
    for (size_t i = 0; i < call.board->throttles.count; ++i) {
      const struct span* span = &call.board->throttles.items[i];
      const int64_t until_ns = call.now_ns < span->to_ns ? call.now_ns : span->to_ns;
      if (span->policy == policy && until_ns > span->from_ns) violation->violation_ns += (uint64_t)(until_ns - span->from_ns);
    }
  }
  return end_call(&call, code);
}

static int answer_processes(const struct board* board, bool graphics, unsigned int* count, struct process_info* processes) {
  if (count == NULL) return kInvalidArgument;
  const unsigned int room = processes == NULL ? 0 : *count;
  *count = 0;
  for (size_t i = 0; i < board->process_count; ++i) {
    const struct process* process = &board->processes[i];
    if (process->graphics != graphics) continue;
    if (*count < room) {
      processes[*count] = (struct process_info){
          .pid = process->pid, .bytes = process->bytes, .gpu_instance = UINT32_MAX, .compute_instance = UINT32_MAX};
    }
    ++*count;
  }
  return *count <= room ? kSuccess : kInsufficientSize;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device_handle device, unsigned int* count, struct process_info* processes) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_processes(call.board, false, count, processes);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(device_handle device, unsigned int* count, struct process_info* processes) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = answer_processes(call.board, true, count, processes);
  return end_call(&call, code);
}
