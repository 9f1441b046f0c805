// SPDX-License-Identifier: MIT
// Joules of one operation, with bounds: runs a kernel back to back until the bounds are narrow.
#include <inttypes.h>
#include <powerprobe.h>
#include <stdio.h>
#include <stdlib.h>

enum { kElements = 4096 };                        // 32 KiB: stays in the nearest cache
static const double kNarrow = 0.01;               // stop when upper - lower is 1 % of the joules
static const int64_t kFirst_ns = 50000000;        // an interval of some steps of a slow counter
static const int64_t kLongest_ns = 2000000000;    // stop here, narrow or not: the history of the shared probe is 10 s
static double numbers[kElements];
static volatile double sink;  // without it the compiler would remove the kernel

// One operation: put yours here.
static void kernel(void) {
  double sum = 0;
  for (int i = 0; i < kElements; ++i) sum += numbers[i] * numbers[i];
  sink = sum;
}

static void check(pp_status status) {
  if (status == PP_OK) return;
  const pp_error *error = pp_last_error();
  fprintf(stderr, "%s\n%s\n", error->message, error->remedy);
  exit(1);
}

int main(void) {
  pp_probe *probe;
  check(pp_open(NULL, &probe));
  check(pp_ask(probe));  // every step of the counters is waited for, so that the ends of an interval are known to about 1 us
  for (int i = 0; i < kElements; ++i) numbers[i] = i;

  pp_joules used = PP_JOULES_INIT;
  uint64_t count = 0;
  int64_t start = 0, end = 0;
  // The bounds are about as wide as one step of the counter however long the interval is, so a longer one is
  // what narrows them. A model's bounds are a share of the joules and never get narrow: the longest interval ends that.
  for (int64_t goal_ns = kFirst_ns; goal_ns <= kLongest_ns; goal_ns *= 2) {
    count = 0;
    start = pp_mark(probe);
    do {
      for (int i = 0; i < 64; ++i) kernel();  // the clock is read once in 64 operations, which makes its own joules small
      count += 64;
    } while (pp_now() - start < goal_ns);
    end = pp_mark(probe);
    check(pp_energy(probe, PP_TOTAL, start, end, PP_SETTLE, &used));
    if (used.upper - used.lower <= kNarrow * used.joules) break;
  }
  const double n = (double)count;
  // All that the machine used meanwhile is in this, other programs too: only the difference to an idle interval is the kernel's.
  printf("%.4g J/op, between %.4g and %.4g%s\n", used.joules / n, used.lower / n, used.upper / n,
         (used.flags & PP_FROM_MODEL) ? ", estimated by a model" : "");
  printf("%" PRIu64 " operations in %.3f s, %.4g W\n", count, (double)(end - start) * 1e-9,
         used.joules / ((double)(end - start) * 1e-9));
  check(pp_release(probe));
  pp_close(probe);
  return 0;
}
