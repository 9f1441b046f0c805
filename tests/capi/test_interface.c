// SPDX-License-Identifier: MIT
// The C interface as a program in C11 sees it.
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"
#include "machine.h"
#include "threads.h"

static machine g_machine;

static pp_probe *opened(void) {
  const pp_options options = machine_options(&g_machine);
  pp_probe *probe = NULL;
  CHECK(pp_open(&options, &probe) == PP_OK);
  return probe;
}

static int message_has(const char *text) { return strstr(pp_last_error()->message, text) != NULL; }

static void spin_ns(int64_t ns) {
  for (const int64_t end = pp_now() + ns; pp_now() < end;) {
  }
}

static void versions_are_those_of_the_header(void) {
  CHECK(pp_abi_version() == PP_ABI_VERSION);
  CHECK(strchr(pp_version(), '.') != NULL);
}

static void bad_arguments_are_named(void) {
  pp_probe *const probe = opened();
  pp_joules energy = PP_JOULES_INIT;
  pp_channel_info info = PP_CHANNEL_INFO_INIT;
  pp_region *region = NULL;
  uint32_t channel = 0;
  uint64_t next = 0;
  size_t count = 0;
  pp_edge edge;
  double d = 0.0;
  const int64_t t = pp_now();
  pp_options options = PP_OPTIONS_INIT;
  pp_probe *none = probe;
#define NAMED(call, text) CHECK((call) == PP_BAD_ARGUMENT && pp_last_error()->status == PP_BAD_ARGUMENT && message_has(text))
  NAMED(pp_open(NULL, NULL), "probe is NULL");
  options.struct_size = 0;
  NAMED(pp_open(&options, &none), "options->struct_size");
  CHECK(none == NULL);
  options = (pp_options)PP_OPTIONS_INIT;
  options.period_ns = 1;
  NAMED(pp_open(&options, &none), "options->period_ns");
  options.period_ns = 0;
  options.history_ns = -1;
  NAMED(pp_open(&options, &none), "options->history_ns");
  options.history_ns = INT64_MAX;
  NAMED(pp_open(&options, &none), "options->history_ns");
  options.history_ns = 0;
  options.strict = 7;
  NAMED(pp_open(&options, &none), "options->strict");
  options.strict = 1;
  options.sources = "cpu_model";
  NAMED(pp_open(&options, &none), "options->sources");
  options.sources = "no_such_source";
  NAMED(pp_open(&options, &none), "no_such_source");
  options.sources = "rapl_perf,,nvml";
  NAMED(pp_open(&options, &none), "options->sources");
  options = machine_options(&g_machine);
  options.channels = "zebra-*";
  NAMED(pp_open(&options, &none), "options->channels: none matches \"zebra-*\"");
  NAMED(pp_channel(NULL, 0, &info), "probe is NULL");
  NAMED(pp_channel(probe, 0, NULL), "info is NULL");
  NAMED(pp_channel(probe, 99, &info), "channel: there is no 99");
  NAMED(pp_channel(probe, PP_TOTAL, &info), "PP_TOTAL");
  info.struct_size = 4;
  NAMED(pp_channel(probe, 0, &info), "info->struct_size");
  NAMED(pp_find_channel(probe, NULL, &channel), "name is NULL");
  NAMED(pp_find_channel(probe, "zebra", &channel), "\"zebra\"");
  NAMED(pp_find_channel(probe, "zebra", NULL), "channel is NULL");
  NAMED(pp_ask(NULL), "probe is NULL");
  NAMED(pp_release(NULL), "probe is NULL");
  NAMED(pp_release(probe), "nothing was asked for");
  NAMED(pp_energy(NULL, 0, t, t, 0, &energy), "probe is NULL");
  NAMED(pp_energy(probe, 0, t, t, 0, NULL), "energy is NULL");
  NAMED(pp_energy(probe, 99, t, t, 0, &energy), "channel: there is no 99");
  NAMED(pp_energy(probe, 0, t, t - 1, 0, &energy), "end_ns lies 1 ns before start_ns");
  NAMED(pp_energy(probe, 0, t, t, -1, &energy), "settle_ns is negative");
  energy.struct_size = 0;
  NAMED(pp_energy(probe, 0, t, t, 0, &energy), "energy->struct_size");
  NAMED(pp_energies(probe, 0, 1, NULL, &t, 0, &d, &d, &d, NULL), "starts_ns is NULL");
  NAMED(pp_energies(probe, 0, 1, &t, NULL, 0, &d, &d, &d, NULL), "ends_ns is NULL");
  NAMED(pp_energies(probe, 0, 1, &t, &t, 0, NULL, &d, &d, NULL), "joules is NULL");
  NAMED(pp_energies(probe, 0, 1, &t, &t, 0, &d, NULL, &d, NULL), "lower is NULL");
  NAMED(pp_energies(probe, 0, 1, &t, &t, 0, &d, &d, NULL, NULL), "upper is NULL");
  NAMED(pp_energies(probe, 0, 1, &t, &t, -1, &d, &d, &d, NULL), "settle_ns is negative");
  NAMED(pp_begin(NULL, &region), "probe is NULL");
  NAMED(pp_begin(probe, NULL), "region is NULL");
  NAMED(pp_end(NULL), "region is NULL");
  NAMED(pp_region_energy(NULL, 0, 0, &energy, NULL, NULL), "region is NULL");
  NAMED(pp_read_edges(probe, 0, NULL, &edge, 1, &count, NULL), "next is NULL");
  NAMED(pp_read_edges(probe, 0, &next, NULL, 1, &count, NULL), "edges is NULL");
  NAMED(pp_read_edges(probe, 0, &next, &edge, 1, NULL, NULL), "count is NULL");
  NAMED(pp_read_edges(probe, PP_TOTAL, &next, &edge, 1, &count, NULL), "PP_TOTAL");
#undef NAMED
  CHECK(pp_channel_count(NULL) == 0);
  CHECK(pp_energies(probe, 0, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL) == PP_OK);
  pp_close(NULL);
  pp_region_free(NULL);
  pp_close(probe);
}

static void a_machine_without_counters_says_why(void) {
  char empty[] = "/tmp/powerprobe_empty_XXXXXX";
  CHECK(mkdtemp(empty) != NULL);
  pp_options options = PP_OPTIONS_INIT;
  options.strict = 1;
  options.root = empty;
  pp_probe *probe = NULL;
  const pp_status status = pp_open(&options, &probe);
  CHECK(status == PP_UNAVAILABLE || status == PP_PERMISSION);
  CHECK(probe == NULL);
  CHECK(message_has("no energy counter can be read") && message_has("rapl_perf"));
  CHECK(rmdir(empty) == 0);
}

static void channels_are_described(void) {
  pp_probe *const probe = opened();
  CHECK(pp_channel_count(probe) == 1);
  pp_channel_info info = PP_CHANNEL_INFO_INIT;
  CHECK(pp_channel(probe, 0, &info) == PP_OK);
  uint32_t found = 7;
  CHECK(pp_find_channel(probe, info.name, &found) == PP_OK && found == 0);
  CHECK(info.parent == PP_TOTAL && info.gpu == -1 && info.path[0] != '\0');
  if (g_machine.knows_truth) {
    CHECK(strcmp(info.name, "package-0") == 0 && strcmp(info.source, "rapl_perf") == 0 && strcmp(info.domain, "package") == 0);
    CHECK(info.provenance == PP_MEASURED && info.package == 0 && info.quantum_joules > 0.0);
  } else {
    CHECK(info.provenance == PP_ESTIMATED);
  }
  pp_close(probe);
}

static void energy_is_the_truth(void) {
  pp_probe *const probe = opened();
  CHECK(pp_ask(probe) == PP_OK);
  const uint64_t before_start = machine_ticks();
  const int64_t start = pp_mark(probe);
  const uint64_t after_start = machine_ticks();
  spin_ns(20000000);
  const uint64_t before_end = machine_ticks();
  const int64_t end = pp_mark(probe);
  const uint64_t after_end = machine_ticks();
  pp_joules energy = PP_JOULES_INIT;
  CHECK(pp_energy(probe, 0, start, end, PP_SETTLE, &energy) == PP_OK);
  CHECK(energy.lower <= energy.joules && energy.joules <= energy.upper && energy.lower > 0.0);
  if (g_machine.knows_truth) {
    CHECK(energy.upper >= (double)(before_end - after_start) * JOULES_PER_TICK);
    CHECK(energy.lower <= (double)(after_end - before_start) * JOULES_PER_TICK);
    CHECK(isfinite(energy.upper) && energy.upper < 2.0 * energy.lower);
  } else {
    CHECK((energy.flags & PP_FROM_MODEL) != 0);
  }
  pp_joules total = PP_JOULES_INIT;
  CHECK(pp_energy(probe, PP_TOTAL, start, end, PP_SETTLE, &total) == PP_OK);
  CHECK(total.joules == energy.joules && total.lower == energy.lower && total.upper == energy.upper);
  // One by one and all at once is the same, also in disorder, and parts add up.
  const int64_t starts[] = {start + 1000000, start, start};
  const int64_t ends[] = {end, start + 1000000, end};
  double joules[3], lower[3], upper[3];
  uint32_t flags[3];
  CHECK(pp_energies(probe, PP_TOTAL, 3, starts, ends, PP_SETTLE, joules, lower, upper, flags) == PP_OK);
  for (int i = 0; i < 3; ++i) {
    CHECK(pp_energy(probe, 0, starts[i], ends[i], 0, &energy) == PP_OK);
    CHECK(energy.joules == joules[i] && energy.lower == lower[i] && energy.upper == upper[i] && energy.flags == flags[i]);
  }
  CHECK(fabs(joules[0] + joules[1] - joules[2]) <= 1e-9 + 0.5 * (upper[0] - lower[0] + upper[1] - lower[1]));
  CHECK(pp_energy(probe, 0, start, pp_now() + 1000000000, PP_SETTLE, &energy) == PP_OUT_OF_RANGE && message_has("future"));
  CHECK(pp_energy(probe, 0, 1, end, PP_SETTLE, &energy) == PP_OUT_OF_RANGE);
  CHECK(pp_release(probe) == PP_OK);
  CHECK(pp_release(probe) == PP_BAD_ARGUMENT);
  pp_close(probe);
}

static void a_region_knows_both_its_ends(void) {
  pp_probe *const probe = opened();
  pp_region *region = NULL;
  const uint64_t before_start = machine_ticks();
  CHECK(pp_begin(probe, &region) == PP_OK);
  const uint64_t after_start = machine_ticks();
  spin_ns(30000000);
  pp_joules energy = PP_JOULES_INIT;
  CHECK(pp_region_energy(region, PP_TOTAL, 0, &energy, NULL, NULL) == PP_BAD_ARGUMENT && message_has("has not ended"));
  const uint64_t before_end = machine_ticks();
  CHECK(pp_end(region) == PP_OK);
  const uint64_t after_end = machine_ticks();
  CHECK(pp_end(region) == PP_BAD_ARGUMENT && message_has("ended already"));
  pp_close(probe);  // the region keeps what it needs
  int64_t start = 0, end = 0;
  CHECK(pp_region_energy(region, PP_TOTAL, PP_SETTLE, &energy, &start, &end) == PP_OK);
  CHECK(end - start >= 30000000 && end <= pp_now());
  CHECK(energy.lower > 0.0);
  if (g_machine.knows_truth) {
    CHECK(energy.upper >= (double)(before_end - after_start) * JOULES_PER_TICK);
    CHECK(energy.lower <= (double)(after_end - before_start) * JOULES_PER_TICK);
  }
  pp_region_free(region);
}

static void edges_are_copied_in_order(void) {
  const pp_options usual = machine_options(&g_machine);
  pp_options options = usual;
  options.history_ns = 1;  // a page of edges, which is soon overwritten
  options.period_ns = 20000;
  pp_probe *probe = NULL;
  CHECK(pp_open(&options, &probe) == PP_OK);
  CHECK(pp_ask(probe) == PP_OK);
  pp_edge edges[32];
  uint64_t next = 0, lost = 7, seen = 0;
  size_t count = 0;
  double joules = -1.0;
  int64_t t_ns = 0;
  for (const int64_t give_up = pp_now() + INT64_C(20000000000); seen < 64; ) {
    CHECK(pp_now() < give_up);
    const uint64_t from = next;
    CHECK(pp_read_edges(probe, 0, &next, edges, 32, &count, &lost) == PP_OK);
    CHECK(next == from + lost + count && count <= 32);
    for (size_t i = 0; i < count; ++i) {
      CHECK(edges[i].t_ns > t_ns && edges[i].joules >= joules);
      t_ns = edges[i].t_ns;
      joules = edges[i].joules;
    }
    seen += count;
  }
  if (g_machine.knows_truth) {  // an estimate does not step so soon
    uint64_t again = 0;
    lost = 0;
    for (const int64_t give_up = pp_now() + INT64_C(20000000000); lost == 0; again = 0) {
      CHECK(pp_now() < give_up);
      CHECK(pp_read_edges(probe, 0, &again, edges, 1, &count, &lost) == PP_OK);
    }
    CHECK(count == 1);
    CHECK(pp_energy(probe, 0, edges[0].t_ns - 1000000000, edges[0].t_ns, 0, &(pp_joules)PP_JOULES_INIT) == PP_OVERRUN);
    CHECK(pp_last_error()->remedy[0] != '\0');
  }
  uint64_t ahead = next + 1000000;
  CHECK(pp_read_edges(probe, 0, &ahead, edges, 32, &count, &lost) == PP_OK);
  CHECK(count == 0 && lost == 0 && ahead == next + 1000000);
  pp_close(probe);
}

// Goes on behind the newest edge; says whether there was one behind *next.
static int has_new_edges(const pp_probe *probe, uint64_t *next) {
  static pp_edge edges[1024];
  int any = 0;
  for (size_t count = 1; count > 0;) {
    CHECK(pp_read_edges(probe, 0, next, edges, 1024, &count, NULL) == PP_OK);
    any |= count > 0;
  }
  return any;
}

// Until the samplers, which nobody asks, have come to rest: then they look every four seconds.
static void wait_until_quiet(const pp_probe *probe, uint64_t *next) {
  const int64_t give_up = pp_now() + INT64_C(20000000000);
  do {
    CHECK(pp_now() < give_up);
    (void)has_new_edges(probe, next);
    spin_ns(60000000);
  } while (has_new_edges(probe, next));
}

static void a_mark_asks_for_the_next_steps(void) {
  pp_probe *const probe = opened();
  uint64_t next = 0;
  wait_until_quiet(probe, &next);
  (void)pp_mark(probe);
  for (const int64_t give_up = pp_now() + INT64_C(3000000000); !has_new_edges(probe, &next);) CHECK(pp_now() < give_up);
  pp_close(probe);
}

static void what_a_handle_asked_for_ends_with_it(void) {
  pp_probe *first = NULL, *second = NULL;
  CHECK(pp_open(NULL, &first) == PP_OK && pp_open(NULL, &second) == PP_OK);
  CHECK(pp_ask(second) == PP_OK && pp_ask(second) == PP_OK);
  pp_close(second);
  uint64_t next = 0;
  wait_until_quiet(first, &next);
  pp_close(first);
}

// The system takes a moment to forget a thread that was joined.
static void no_thread_is_left(void) {
  for (const int64_t give_up = pp_now() + INT64_C(20000000000); threads_named("pp-") > 0;) CHECK(pp_now() < give_up);
}

static void the_shared_probe_is_counted(void) {
  no_thread_is_left();
  pp_probe *first = NULL, *second = NULL;
  CHECK(pp_open(NULL, &first) == PP_OK);
  CHECK(pp_ask(first) == PP_OK);  // and all have begun
  const int threads = threads_named("pp-");
  CHECK(threads > 0);
  CHECK(pp_open(NULL, &second) == PP_OK);
  CHECK(pp_ask(second) == PP_OK);
  CHECK(first != second && threads_named("pp-") == threads);
  pp_close(first);
  CHECK(threads_named("pp-") == threads);
  pp_close(second);
  no_thread_is_left();
}

static void a_child_of_a_fork_opens_its_own(void) {
  pp_probe *probe = NULL;
  CHECK(pp_open(NULL, &probe) == PP_OK);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    pp_region *region = NULL;
    if (pp_begin(probe, &region) != PP_UNAVAILABLE || pp_ask(probe) != PP_UNAVAILABLE || region != NULL) _exit(1);
#if defined(__SANITIZE_THREAD__)
    pp_close(probe);
    _exit(0);  // it cannot follow a child that starts threads
#endif
    pp_probe *const parents = probe;
    if (pp_open(NULL, &probe) != PP_OK || pp_ask(probe) != PP_OK || threads_named("pp-") == 0) _exit(2);
    if (pp_begin(probe, &region) != PP_OK || pp_end(region) != PP_OK) _exit(3);
    pp_joules energy = PP_JOULES_INIT;
    if (pp_region_energy(region, PP_TOTAL, 5 * PP_SETTLE, &energy, NULL, NULL) != PP_OK) _exit(4);
    pp_region_free(region);
    pp_close(probe);
    pp_close(parents);
    _exit(0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  pp_close(probe);
}

static pp_probe *g_marked;
static _Atomic int64_t g_stamps;

static void on_alarm(int number) {
  (void)number;
  if (pp_mark(g_marked) > 0) atomic_fetch_add(&g_stamps, 1);
}

// It interrupts whatever the library does just now, its locks and its memory included.
static void marks_are_safe_in_signal_handlers(void) {
  g_marked = opened();
  struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
  struct sigaction before;
  CHECK(sigaction(SIGALRM, &action, &before) == 0);
  const struct itimerval often = {{0, 200}, {0, 200}};
  CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  pp_joules energy = PP_JOULES_INIT;
  for (const int64_t give_up = pp_now() + INT64_C(20000000000); atomic_load(&g_stamps) < 200;) {
    CHECK(pp_now() < give_up);
    const int64_t t = pp_mark(g_marked);
    errno = 12345;
    spin_ns(10000);
    CHECK(errno == 12345);
    CHECK(pp_energy(g_marked, 0, t, pp_mark(g_marked), 0, &energy) == PP_OK);
    pp_region *region = NULL;
    CHECK(pp_begin(g_marked, &region) == PP_OK);
    pp_region_free(region);
  }
  const struct itimerval never = {{0, 0}, {0, 0}};
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
  CHECK(sigaction(SIGALRM, &before, NULL) == 0);
  pp_close(g_marked);
  const int64_t earlier = pp_now();
  CHECK(pp_mark(NULL) >= earlier);
}

static void *asks(void *argument) {
  pp_probe *const probe = argument;
  for (int i = 0; i < 50; ++i) {
    CHECK(pp_ask(probe) == PP_OK);
    const int64_t start = pp_mark(probe);
    pp_joules energy = PP_JOULES_INIT;
    CHECK(pp_energy(probe, PP_TOTAL, start, pp_mark(probe), 5 * PP_SETTLE, &energy) == PP_OK);
    CHECK(pp_energy(probe, 77, start, start, 0, &energy) == PP_BAD_ARGUMENT && message_has("no 77"));
    CHECK(pp_release(probe) == PP_OK);
    pp_probe *shared = NULL;
    if (i % 25 == 0) CHECK(pp_open(NULL, &shared) == PP_OK);
    pp_close(shared);
  }
  return NULL;
}

static void threads_do_not_disturb_each_other(void) {
  pp_probe *const probe = opened();
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) CHECK(pthread_create(&threads[i], NULL, asks, probe) == 0);
  for (int i = 0; i < 4; ++i) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(pp_last_error()->status != PP_BAD_ARGUMENT || !message_has("no 77"));
  pp_close(probe);
}

int main(void) {
  CHECK(pp_last_error()->status == PP_OK && pp_last_error()->message[0] == '\0');
  g_machine = machine_make();
  versions_are_those_of_the_header();
  bad_arguments_are_named();
  a_machine_without_counters_says_why();
  channels_are_described();
  energy_is_the_truth();
  a_region_knows_both_its_ends();
  edges_are_copied_in_order();
  a_mark_asks_for_the_next_steps();
  what_a_handle_asked_for_ends_with_it();
  the_shared_probe_is_counted();
  a_child_of_a_fork_opens_its_own();
  marks_are_safe_in_signal_handlers();
  threads_do_not_disturb_each_other();
  machine_remove(&g_machine);
  return 0;
}
