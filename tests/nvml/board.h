// SPDX-License-Identifier: MIT
// What a board shows at an instant; any thread.
#ifndef FAKE_NVML_BOARD_H
#define FAKE_NVML_BOARD_H

#include "nvml.h"
#include "script.h"

bool has_scope(const struct board* board, unsigned int scope);
// Millijoules, rounded down.
uint64_t counter_mj(struct board* board, unsigned int scope, int64_t t_ns);
// What `reading`, one of the board's, shows at t: the mean up to its last update.
unsigned int reading_mw(const struct board* board, unsigned int scope, const struct updates* reading, int64_t t_ns);
// The time stamp of a value that changed at update_ns, in a call at now_ns; `number` makes the wrong ones jump.
int64_t stamp_us(const struct script* script, enum stamps stamps, int64_t now_ns, int64_t update_ns,
                 unsigned long long number);
// Everything of a field value but what was asked.
void fill_field(const struct script* script, struct board* board, int64_t now_ns, unsigned long long number,
                struct field_value* value);

#endif
