// SPDX-License-Identifier: MIT
// The functions for energy, field values and buffered power, which a library may be without; any thread.
#include <stddef.h>

#include "board.h"
#include "nvml.h"
#include "state.h"

EXPORT int nvmlDeviceGetTotalEnergyConsumption(device_handle device, unsigned long long* energy_mj) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) {
    if (energy_mj == NULL) {
      code = kInvalidArgument;
    } else if (!call.board->energy.present || !has_scope(call.board, 0)) {
      code = kNotSupported;
    } else {
      *energy_mj = counter_mj(call.board, 0, call.now_ns);
    }
  }
  return end_call(&call, code);
}

static bool has_field(const struct board* board, const struct field_value* value) {
  for (size_t i = 0; i < board->field_count; ++i) {
    if (board->fields[i].id == value->field_id && board->fields[i].scope == value->scope_id) return true;
  }
  return false;
}

static int fill_fields(const struct call* call, int count, struct field_value* values) {
  if (values == NULL || count < 1) return kInvalidArgument;
  for (int i = 0; i < count; ++i) {
    if (has_field(call->board, &values[i])) {
      fill_field(call->script, call->board, call->now_ns, call->number, &values[i]);
    } else if (call->board->missing_fails_call) {
      return call->board->missing_code;
    } else {
      values[i].code = (uint32_t)call->board->missing_code;
    }
  }
  return kSuccess;
}

EXPORT int nvmlDeviceGetFieldValues(device_handle device, int count, struct field_value* values) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = fill_fields(&call, count, values);
  return end_call(&call, code);
}

enum { kBufferTotalPower = 0, kBufferModulePower = 7 };

static int fill_buffer(const struct call* call, int kind, unsigned long long last_seen_us, int* type, unsigned int* count,
                       struct buffered_value* values) {
  const struct board* board = call->board;
  const struct updates* buffer = &board->buffer;
  const unsigned int scope = kind == kBufferModulePower ? 1 : 0;
  if (type == NULL || count == NULL) return kInvalidArgument;
  if ((kind != kBufferTotalPower && kind != kBufferModulePower) || !buffer->present || !has_scope(board, scope)) {
    return kNotSupported;
  }
  const int64_t last = last_update(buffer, call->now_ns);
  unsigned int newer = 0;
  while (newer < board->depth && wall_us(call->script, update_ns(buffer, last - newer)) > (int64_t)last_seen_us) ++newer;
  if (newer == 0) return kNotFound;
  const bool fits = values == NULL || *count >= newer;
  *type = kTypeUnsigned;
  *count = newer;
  if (!fits) return kInsufficientSize;
  for (unsigned int i = 0; values != NULL && i < newer; ++i) {
    const int64_t k = last - newer + 1 + i;
    const int64_t at_ns = update_ns(buffer, k);
    values[i].timestamp_us =
        (uint64_t)stamp_us(call->script, board->buffer_stamps, call->now_ns, at_ns, (unsigned long long)k);
    values[i].value.unsigned_value = (unsigned int)mean_mw(&board->waves[scope], at_ns, buffer->window_ns);
  }
  return kSuccess;
}

EXPORT int nvmlDeviceGetSamples(device_handle device, int kind, unsigned long long last_seen_us, int* type,
                                unsigned int* count, struct buffered_value* values) {
  struct call call;
  int code = begin_call(&call, __func__, device);
  if (code == kSuccess) code = fill_buffer(&call, kind, last_seen_us, type, count, values);
  return end_call(&call, code);
}
