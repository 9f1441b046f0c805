// SPDX-License-Identifier: MIT
// A machine for tests in C: a folder whose `power` PMU is the kernel's real `msr` PMU, so that the package takes a nanojoule for
// each tick of the TSC and the truth is an instruction. Where that PMU may not be used, an estimate, which knows no truth.
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "powerprobe.h"

#if defined(__x86_64__)
#include <x86intrin.h>
static inline uint64_t machine_ticks(void) { return __rdtsc(); }
#else
static inline uint64_t machine_ticks(void) { return 0; }
#endif

#define JOULES_PER_TICK 1e-9

typedef struct machine {
  char root[64];
  int knows_truth;
  pp_options options;
} machine;

static inline void machine_write(const machine *m, const char *name, const char *text) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", m->root, name);
  for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    (void)mkdir(path, 0755);
    *slash = '/';
  }
  FILE *file = fopen(path, "w");
  if (file == NULL || fprintf(file, "%s\n", text) < 0 || fclose(file) != 0) {
    perror(path);
    exit(2);
  }
}

static inline void machine_copy(const machine *m, const char *from, const char *name) {
  char text[16384] = "";
  FILE *file = fopen(from, "r");
  if (file != NULL) {
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
  }
  machine_write(m, name, text);
}

// To be removed with machine_remove().
static inline machine machine_make(void) {
  machine m = {"/tmp/powerprobe_capi_XXXXXX", 1, PP_OPTIONS_INIT};
  if (mkdtemp(m.root) == NULL) {
    perror(m.root);
    exit(2);
  }
  const char *power = "sys/bus/event_source/devices/power/";
  const char *files[][2] = {{"cpumask", "0"}, {"format/event", "config:0-7"}, {"events/energy-pkg", "event=0x00"},
                            {"events/energy-pkg.scale", "1e-9"}, {"events/energy-pkg.unit", "Joules"}};
  char name[256];
  for (size_t i = 0; i < sizeof files / sizeof files[0]; ++i) {
    snprintf(name, sizeof name, "%s%s", power, files[i][0]);
    machine_write(&m, name, files[i][1]);
  }
  snprintf(name, sizeof name, "%stype", power);
  machine_copy(&m, "/sys/bus/event_source/devices/msr/type", name);
  machine_write(&m, "sys/devices/system/cpu/online", "0");
  machine_write(&m, "sys/devices/system/cpu/cpu0/topology/physical_package_id", "0");
  machine_write(&m, "sys/devices/system/cpu/cpu0/topology/die_id", "0");
  machine_write(&m, "sys/devices/system/cpu/cpu0/topology/core_id", "0");
  machine_copy(&m, "/proc/cpuinfo", "proc/cpuinfo");
  machine_copy(&m, "/proc/stat", "proc/stat");
  m.options.sources = "rapl_perf";
  pp_probe *probe = NULL;
  m.options.root = m.root;
  if (pp_open(&m.options, &probe) != PP_OK) {
    printf("no truth here: %s\n", pp_last_error()->message);
    m.knows_truth = 0;
    m.options.root = NULL;
    m.options.sources = "cpu_model";
  }
  pp_close(probe);
  return m;
}

// The options, which point into the machine.
static inline pp_options machine_options(const machine *m) {
  pp_options options = m->options;
  options.root = m->knows_truth ? m->root : NULL;
  return options;
}

static inline void machine_remove(const machine *m) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", m->root);
  if (system(command) != 0) exit(2);
}

#endif
