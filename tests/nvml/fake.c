// SPDX-License-Identifier: MIT
// The functions that every NVML has: init, handles, names, power; any thread.
#include "answer.h"
#include "board.h"
#include "nvml.h"
#include "state.h"

EXPORT int nvmlInit_v2(void) {
  struct call call;
  return end_call(&call, begin_init(&call, __func__));
}

EXPORT int nvmlInitWithFlags(unsigned int flags) {
  struct call call;
  (void)flags;
  return end_call(&call, begin_init(&call, __func__));
}

EXPORT int nvmlShutdown(void) {
  struct call call;
  return end_call(&call, begin_shutdown(&call, __func__));
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int* count) {
  struct call call;
  int code = begin_library_call(&call, __func__);
  if (code == kSuccess && count == NULL) code = kInvalidArgument;
  if (code == kSuccess) *count = (unsigned int)call.script->board_count;
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_handle* device) {
  struct call call;
  int code = begin_library_call(&call, __func__);
  if (code == kSuccess && (device == NULL || index >= call.script->board_count)) code = kInvalidArgument;
  if (code == kSuccess) code = enter_board(&call, index);
  if (code == kSuccess) *device = handle_of(index, -1);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetName(device_handle device, char* name, unsigned int length) {
  struct call call;
  int code = begin_any_call(&call, __func__, device);
  if (code == kSuccess) code = answer_text(name, length, call.board->name);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetUUID(device_handle device, char* uuid, unsigned int length) {
  struct call call;
  int code = begin_any_call(&call, __func__, device);
  if (code == kSuccess) code = answer_text(uuid, length, call.mig < 0 ? call.board->uuid : call.board->migs[call.mig]);
  return end_call(&call, code);
}

EXPORT int nvmlDeviceGetPowerUsage(device_handle device, unsigned int* power_mw) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) {
    const struct board* board = call.board;
    const struct updates* reading = board->power_usage == kUsageInstant ? &board->instant : &board->average;
    if (power_mw == NULL) {
      code = kInvalidArgument;
    } else if (board->power_usage == kUsageOff || !reading->present || !has_scope(board, 0)) {
      code = kNotSupported;
    } else {
      *power_mw = reading_mw(board, 0, reading, call.now_ns);
    }
  }
  return end_call(&call, code);
}
