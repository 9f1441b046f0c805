// SPDX-License-Identifier: MIT
// A script, read; does not change while calls use it, except for what state.c guards.
//
// One line, one fact; the first word says which; # begins a comment. Times are script time unless they say otherwise.
// Lines before the first `board`:
//   start_ns N                  CLOCK_MONOTONIC of script time 0; without it, the moment the script is given
//   frozen_ns N                 script time stands still at N (see fake_nvml_freeze)
//   driver TEXT                 what SystemGetDriverVersion answers
//   init_error CODE             what init answers
//   init_delay_ms N             how long init takes
// `board` begins a board, which looks like an H100 unless its lines say otherwise:
//   name TEXT    uuid TEXT    pci DOMAIN:BUS:DEVICE.0    arch N    compute_capability MAJOR MINOR    cores N
//   clock_mhz NOW MAX    memory_clock_mhz NOW MAX    limits_mw MIN MAX DEFAULT NOW ENFORCED    persistence N
//   temperature_c N      utilization GPU MEMORY
//   mig_max N                   most instances; 0: a board without MIG. MIG is on when there are instances:
//   mig UUID                    an instance
//   wave SCOPE off | US:MW ...  power by (duration, milliwatts), repeating; scope 0 gpu, 1 module, 2 memory
//   energy off | UPDATES kind=waveform|sensor first_mj=N   the counter of each scope; what it takes up: the true energy, or
//                               the mean over window_us before each update times the time since the update before
//   reset_ms T                  the counters fall to 0 at T (any number of lines)
//   instant off | UPDATES       } power readings: the mean over window_us before each update, rounded down
//   average off | UPDATES       }
//   power_usage instant|average|off   which one GetPowerUsage answers
//   buffer off | UPDATES depth=N stamps=update|zero|wrong   what GetSamples answers
//   fields ID@SCOPE ...         the field ids there are: 83 and 191 energy, 185 average, 186 instant
//   field_missing entry|call CODE   what asking for another one answers: in its entry, or for the whole call
//   stamps read|update|zero|wrong   of field values: the time of the call; of the value's last update; 0; 100 to 160 ms off,
//                               now early, now late
//   latency_us N                what field values say
//   delay_us BEFORE AFTER       how long each call sleeps before it takes its value and after
//   fault from_ms=T to_ms=T code=N [function=NAME]   what calls answer (to_ms=forever or left out: for good; lost: code=15)
//   hang from_ms=T to_ms=T [function=NAME]    calls that begin then return when the time is over, or on fake_nvml_release
//   throttle from_ms=T to_ms=T mask=N policy=N   sets bits of the reasons and increases the policy's violation time
//   process PID BYTES compute|graphics
// UPDATES: period_us=N phase_us=N jitter_us=N window_us=N seed=N, see energy.h. Each line replaces the default as a whole:
// phase, jitter and seed are 0, window is the period when left out.
#ifndef FAKE_NVML_SCRIPT_H
#define FAKE_NVML_SCRIPT_H

#include "energy.h"

enum { kBoards = 200, kScopes = 3, kTextSize = 96, kFunctionSize = 64 };

enum stamps { kStampRead, kStampUpdate, kStampZero, kStampWrong };

enum power_usage { kUsageOff, kUsageInstant, kUsageAverage };

// From some time on until another, for one function or (empty) for all.
struct span {
  int64_t from_ns;
  int64_t to_ns;
  char function[kFunctionSize];
  int code;             // faults
  uint64_t mask;        // throttling
  unsigned int policy;  // throttling
};

struct spans {
  struct span* items;
  size_t count;
};

struct process {
  unsigned int pid;
  uint64_t bytes;
  bool graphics;
};

struct field {
  unsigned int id;
  unsigned int scope;
};

struct board {
  char name[kTextSize];
  char uuid[kTextSize];
  unsigned int pci_domain, pci_bus, pci_device;
  unsigned int arch, major, minor, cores;
  unsigned int clock_mhz[2], memory_clock_mhz[2];  // now, max
  unsigned int min_mw, max_mw, default_mw, limit_mw, enforced_mw;
  unsigned int persistence, temperature_c, utilization[2];
  unsigned int mig_max;
  char (*migs)[kTextSize];
  size_t mig_count;

  struct waveform waves[kScopes];  // of period 0: no such scope
  struct updates energy;
  bool part_time;
  uint64_t first_mj;
  int64_t* resets_ns;  // ascending
  size_t reset_count;
  struct progress progress[kScopes];  // guarded by board.c's lock
  struct updates instant;
  struct updates average;
  enum power_usage power_usage;
  struct updates buffer;
  size_t depth;
  enum stamps buffer_stamps;

  struct field* fields;
  size_t field_count;
  bool missing_fails_call;
  int missing_code;
  enum stamps stamps;
  int64_t latency_us;
  int64_t delay_before_us, delay_after_us;
  struct spans faults, hangs, throttles;
  struct process* processes;
  size_t process_count;
};

struct call_count {
  const char* function;
  unsigned long long all;
  unsigned long long* by_board;
};

struct script {
  int64_t start_ns;
  int64_t wall_minus_monotonic_ns;  // taken once, so that the stamp of an update is the same whenever it is asked for
  char driver[kTextSize];
  int init_error;
  int64_t init_delay_ms;
  // Guarded by state.c's lock.
  bool frozen;
  int64_t frozen_ns;
  int64_t released_ns;  // hangs that began up to here are over
  unsigned int users;
  struct call_count* counts;
  size_t count_of_counts;
  struct board* boards;
  size_t board_count;
};

// Ends the program with the line's number if a line cannot be read: a test must not run on half a script.
struct script* read_script(const char* text);
void free_script(struct script* script);
// Makes room for one more item, zeroed, behind `count` items.
void* grown(void* items, size_t count, size_t size);

#endif
