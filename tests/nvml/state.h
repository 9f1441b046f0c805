// SPDX-License-Identifier: MIT
// What happens around every call: the script it runs by, counts, hangs, delays, faults; any thread.
#ifndef FAKE_NVML_STATE_H
#define FAKE_NVML_STATE_H

#include "nvml.h"
#include "script.h"

// A call's script stays until end_call(), whatever script is given meanwhile.
struct call {
  struct script* script;
  const char* function;
  struct board* board;        // NULL: a call for no board
  unsigned int index;         // of the board
  int mig;                    // the instance, or -1: the whole board
  int64_t now_ns;             // script time at which the value is taken
  unsigned long long number;  // of the calls of this function, the first is 1
};

// Each begins a call and says whether it may go on (kSuccess); end_call() must follow either way and passes the code on.
int begin_library_call(struct call* call, const char* function);                       // for no board
int begin_call(struct call* call, const char* function, device_handle device);         // for a board; not for an instance
int begin_any_call(struct call* call, const char* function, device_handle device);     // for a board or an instance
int end_call(struct call* call, int code);

// Makes a library call one for this board, from where it counts, hangs, waits and fails as such.
int enter_board(struct call* call, size_t index);

// Handles from before the last start of the library are not valid, so that a test sees whoever keeps them.
device_handle handle_of(size_t board, int mig);

// CLOCK_REALTIME in microseconds.
int64_t wall_us(const struct script* script, int64_t t_ns);

// One client more, one less.
int begin_init(struct call* call, const char* function);
int begin_shutdown(struct call* call, const char* function);

#endif
