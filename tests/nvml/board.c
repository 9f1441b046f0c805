// SPDX-License-Identifier: MIT
// What a board shows at an instant; any thread.
#include "board.h"

#include <pthread.h>

#include "state.h"

enum { kFieldTotalEnergy = 83, kFieldAverage = 185, kFieldInstant = 186, kFieldEnergy = 191 };

static const picojoules kPicojoulesPerMillijoule = 1000000000;

static pthread_mutex_t progress_lock = PTHREAD_MUTEX_INITIALIZER;

bool has_scope(const struct board* board, unsigned int scope) {
  return scope < kScopes && board->waves[scope].period_ns > 0;
}

uint64_t counter_mj(struct board* board, unsigned int scope, int64_t t_ns) {
  int64_t origin_ns = 0;
  uint64_t first_mj = board->first_mj;
  for (size_t i = 0; i < board->reset_count && board->resets_ns[i] <= t_ns; ++i) {
    origin_ns = board->resets_ns[i];
    first_mj = 0;
  }
  const struct waveform* wave = &board->waves[scope];
  const int64_t k = last_update(&board->energy, t_ns);
  picojoules energy = 0;
  if (board->part_time) {
    pthread_mutex_lock(&progress_lock);
    energy = seen_pj(wave, &board->energy, origin_ns, k, &board->progress[scope]);
    pthread_mutex_unlock(&progress_lock);
  } else {
    energy = counted_pj(wave, &board->energy, origin_ns, k);
  }
  return first_mj + (uint64_t)(energy / kPicojoulesPerMillijoule);
}

unsigned int reading_mw(const struct board* board, unsigned int scope, const struct updates* reading, int64_t t_ns) {
  const int64_t update = update_ns(reading, last_update(reading, t_ns));
  return (unsigned int)mean_mw(&board->waves[scope], update, reading->window_ns);
}

int64_t stamp_us(const struct script* script, enum stamps stamps, int64_t now_ns, int64_t update_ns,
                 unsigned long long number) {
  const int64_t off_us = 100000 + (int64_t)(number % 7) * 10000;
  switch (stamps) {
    case kStampRead:
      return wall_us(script, now_ns);
    case kStampUpdate:
      return wall_us(script, update_ns);
    case kStampWrong:
      return wall_us(script, update_ns) + (number % 2 == 0 ? off_us : -off_us);
    case kStampZero:
      break;
  }
  return 0;
}

static const struct updates* updates_of(const struct board* board, unsigned int field) {
  switch (field) {
    case kFieldTotalEnergy:
    case kFieldEnergy:
      return &board->energy;
    case kFieldAverage:
      return &board->average;
    case kFieldInstant:
      return &board->instant;
    default:
      return NULL;
  }
}

void fill_field(const struct script* script, struct board* board, int64_t now_ns, unsigned long long number,
                struct field_value* value) {
  const struct updates* updates = updates_of(board, value->field_id);
  if (updates == NULL || !updates->present || !has_scope(board, value->scope_id)) {
    value->code = kNotSupported;
    return;
  }
  value->code = kSuccess;
  value->latency_us = board->latency_us;
  value->timestamp_us =
      stamp_us(script, board->stamps, now_ns, update_ns(updates, last_update(updates, now_ns)), number);
  if (updates == &board->energy) {
    value->value_type = kTypeUnsignedLongLong;
    value->value.unsigned_long_long_value = counter_mj(board, value->scope_id, now_ns);
  } else {
    value->value_type = kTypeUnsigned;
    value->value.unsigned_value = reading_mw(board, value->scope_id, updates, now_ns);
  }
}
