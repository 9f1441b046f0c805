// SPDX-License-Identifier: MIT
// The C interface of powerprobe: energy in joules, with bounds, for any interval of CLOCK_MONOTONIC. C11, and C++.
//
//     pp_probe *probe;
//     if (pp_open(NULL, &probe) != PP_OK) { fprintf(stderr, "%s\n", pp_last_error()->message); exit(1); }
//     pp_ask(probe);                                  // from now on every step of the counters is waited for
//     int64_t start = pp_mark(probe);
//     work();
//     int64_t end = pp_mark(probe);
//     pp_joules used = PP_JOULES_INIT;
//     pp_energy(probe, PP_TOTAL, start, end, PP_SETTLE, &used);
//     pp_close(probe);
//
// Threads: any thread may call anything, at once, except that pp_close() and pp_region_free() must be the last call with what they
// are given. Signal handlers may call pp_now() and pp_mark(), and nothing else.
// Units: instants and durations are nanoseconds (int64_t, CLOCK_MONOTONIC), energies joules, powers watts.
// Errors: a function that can fail returns a status; pp_last_error() of the same thread has the message and the remedy. What was
// written through an argument is then not valid, except that handles are NULL. No exception leaves the library; it prints nothing.
// Fork: in the child a handle of the parent answers PP_UNAVAILABLE; pp_close() it and pp_open() another.
// ABI: see PP_ABI_VERSION. Structs that begin with struct_size may grow at their end: initialize them with their ..._INIT.
#ifndef POWERPROBE_H
#define POWERPROBE_H

// NOLINTBEGIN(modernize-*, readability-identifier-naming): this is C

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PP_EXPORT __attribute__((visibility("default")))
#else
#define PP_EXPORT
#endif
#ifndef PP_API
#define PP_API PP_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Changes when a program that was built against an older header must be built again; libpowerprobe.so.0 has the 0 of it.
// What is only added does not change it: new functions, new values, new members at the end of a struct with a struct_size.
#define PP_ABI_VERSION 0

// The PP_ABI_VERSION that the library was built with.
PP_API uint32_t pp_abi_version(void);
// The version of powerprobe, as "0.1.0". Static.
PP_API const char *pp_version(void);

// ---- Status

typedef int32_t pp_status;
enum {
  PP_OK = 0,
  PP_BAD_ARGUMENT = 1,  // the caller's mistake; the message names the argument
  PP_PERMISSION = 2,    // it is there, this process may not read it
  PP_UNAVAILABLE = 3,   // it is not there, or the probe does not run (closed, or the child of a fork)
  PP_OVERRUN = 4,       // a question about a time that the history no longer holds
  PP_OUT_OF_RANGE = 5,  // a question about a time before the first reading, or in the future
  PP_TIMEOUT = 6,       // the counters did not step in time after the end of an interval
  PP_GONE = 7,          // the channel ended (device lost, driver unloaded)
  PP_NO_MEMORY = 8,
  PP_INTERNAL = 9       // a fault of powerprobe
};

typedef struct pp_error {
  uint32_t struct_size;
  pp_status status;      // of the last call of this thread that failed; PP_OK: none has
  int32_t system_error;  // errno of what the system refused; 0: none
  uint32_t reserved;
  const char *message;   // one sentence or more, never NULL
  const char *path;      // the file that refused; "" where there is none
  const char *remedy;    // the command or setting that would help; "" where none would
} pp_error;

// Of the calling thread; never NULL. The texts are valid until the next call of this thread that fails, and end with the thread.
PP_API const pp_error *pp_last_error(void);

// ---- Probes

typedef struct pp_probe pp_probe;

typedef struct pp_options {
  uint32_t struct_size;
  int32_t strict;        // 1 refuses estimates, 0 takes them, -1: as the environment variable POWERPROBE_STRICT says
  const char *channels;  // names or patterns as a shell knows them, with commas between: "package-*,dram-0". NULL: all but the
                         // counters of single cores and the power readings of a GPU beside its counter
  const char *sources;   // names with commas between, in order of standing: "rapl_perf,nvml". NULL: all
  int64_t period_ns;     // between two readings, 10,000 to 1,000,000,000; 0: each step of the counters is waited for
  int64_t history_ns;    // for how long edges are kept, at least; 0: 60 s. About 32 bytes for each step of a counter
  const char *root;      // a folder with sys, dev and proc that stands for the machine, for tests; NULL: this machine
} pp_options;

#define PP_OPTIONS_INIT {(uint32_t)sizeof(pp_options), -1, NULL, NULL, 0, 0, NULL}

// Opens a probe. options NULL: the one that all of this process share. It starts with the first who opens it (which takes about
// 0.1 s) and goes with the last; its history is 10 s. With options: a private one.
// PP_BAD_ARGUMENT, PP_PERMISSION, PP_UNAVAILABLE (the message has all reasons), PP_NO_MEMORY.
PP_API pp_status pp_open(const pp_options *options, pp_probe **probe);

// Gives back all that was asked for with this handle. The probe goes with its last handle and region. NULL: nothing happens.
PP_API void pp_close(pp_probe *probe);

// ---- Channels

// Index of no channel: the sum over all channels of the probe that are inside no other, so that nothing is counted twice.
#define PP_TOTAL UINT32_MAX

enum {  // pp_channel_info.provenance
  PP_MEASURED = 0,    // a counter
  PP_INTEGRATED = 1,  // from power readings
  PP_ESTIMATED = 2    // a model
};

// The texts live as long as the handle.
typedef struct pp_channel_info {
  uint32_t struct_size;
  uint32_t provenance;
  const char *name;          // "package-0", "dram-1", "gpu-0"
  const char *source;        // "rapl_perf"
  const char *domain;        // "package", "core", "uncore", "dram", "psys", "cpu", "gpu", "vram", "module"
  const char *path;          // what is read, for people
  uint32_t parent;           // index of the channel whose energy contains this one's; PP_TOTAL: none, it is part of the total
  int32_t package;           // which one; -1: none
  int32_t gpu;               // which one, in the order of NVML; -1: none
  uint32_t reserved;
  double quantum_joules;     // the counter's step
  double max_watts;          // more is not possible; 0: not known
  int64_t update_period_ns;  // how often the counter is expected to move; 0: not known
} pp_channel_info;

#define PP_CHANNEL_INFO_INIT {(uint32_t)sizeof(pp_channel_info), 0, NULL, NULL, NULL, NULL, PP_TOTAL, -1, -1, 0, 0.0, 0.0, 0}

// How many channels; 0 if probe is NULL. Indices are 0 to this.
PP_API uint32_t pp_channel_count(const pp_probe *probe);
// PP_BAD_ARGUMENT.
PP_API pp_status pp_channel(const pp_probe *probe, uint32_t channel, pp_channel_info *info);
// The index of a name. PP_BAD_ARGUMENT: there is none; the message has those there are.
PP_API pp_status pp_find_channel(const pp_probe *probe, const char *name, uint32_t *channel);

// ---- Time

// CLOCK_MONOTONIC in nanoseconds. Safe in a signal handler.
PP_API int64_t pp_now(void);

// The same, as the begin or the end of an interval: unless somebody has asked with this handle, the samplers are told to look for
// the counters' next steps for 10 ms at least, which takes a system call where one sleeps. No allocation, no lock; safe in a signal
// handler. probe NULL: pp_now().
PP_API int64_t pp_mark(pp_probe *probe);

// Who measures many short intervals asks before the first: until the release each step of the counters is waited for and so located
// to about a microsecond, which takes some percent of a core. pp_ask() returns when the counters have been located once (0.5 s at
// most). Calls nest. PP_BAD_ARGUMENT; PP_UNAVAILABLE: the probe does not run.
PP_API pp_status pp_ask(pp_probe *probe);
// PP_BAD_ARGUMENT: probe is NULL, or nothing was asked for with this handle.
PP_API pp_status pp_release(pp_probe *probe);

// ---- Energy

#define PP_SETTLE INT64_C(1000000000)  // a time-out that suits every counter, in nanoseconds

enum {  // what there is to know of an answer or an edge; the sum of these
  PP_FIRST = 1 << 0,        // the first reading
  PP_QUIET = 1 << 1,        // the counter was seen to rest
  PP_WRAPPED = 1 << 2,      // the counter passed its modulus
  PP_RESET = 1 << 3,        // the counter jumped; what it counted around that is lost
  PP_AMBIGUOUS = 1 << 4,    // it may have wrapped more often than was seen
  PP_AFTER_RETRY = 1 << 5,  // readings before failed
  PP_LATE = 1 << 6,         // seen later than it could have been
  PP_STAMPED = 1 << 7,      // the time is the hardware's own
  PP_DROPPED = 1 << 8,      // edges found no room; their energy is in the next
  PP_FILTERED = 1 << 9,     // the processor blurs this counter on purpose
  PP_FROM_MODEL = 1 << 10   // from a model, not from a counter
};

// The energy of an interval lies between lower and upper; joules is the estimate between them.
typedef struct pp_joules {
  uint32_t struct_size;
  uint32_t flags;
  double joules;
  double lower;
  double upper;  // may be infinite where the counter was reset
} pp_joules;

#define PP_JOULES_INIT {(uint32_t)sizeof(pp_joules), 0, 0.0, 0.0, 0.0}

// Energy of [start_ns, end_ns] on a channel, or PP_TOTAL. Waits up to settle_ns for the counters' next steps after end_ns, if they
// have not come yet; 0: does not wait, and the bounds are then as wide as what is not known. Neither waits nor allocates where the
// interval is recent and its edges are there.
// PP_BAD_ARGUMENT, PP_OVERRUN, PP_OUT_OF_RANGE, PP_TIMEOUT, PP_GONE.
PP_API pp_status pp_energy(pp_probe *probe, uint32_t channel, int64_t start_ns, int64_t end_ns, int64_t settle_ns,
                           pp_joules *energy);

// The same for `count` intervals at once, in any order, much faster than one by one. All arrays are the caller's and have `count`
// elements; flags may be NULL. May allocate. With an error no element of the answer is valid.
PP_API pp_status pp_energies(pp_probe *probe, uint32_t channel, size_t count, const int64_t *starts_ns, const int64_t *ends_ns,
                             int64_t settle_ns, double *joules, double *lower, double *upper, uint32_t *flags);

// ---- One long interval

// An interval of any length, also longer than the history: the samplers note both its ends while the edges around them are new, and
// sleep in between. For few and long ones; each takes some microseconds and memory.
typedef struct pp_region pp_region;

// Waits until the counters have been located (a step of them; 0.5 s at most), then takes the time stamp of the begin.
// PP_BAD_ARGUMENT, PP_UNAVAILABLE, PP_NO_MEMORY.
PP_API pp_status pp_begin(pp_probe *probe, pp_region **region);
// Takes the time stamp of the end, first of all; never waits. PP_BAD_ARGUMENT: NULL, or it has ended; PP_UNAVAILABLE, PP_NO_MEMORY.
PP_API pp_status pp_end(pp_region *region);
// Waits up to settle_ns for the counters' steps after the end. Also after pp_close(). The time stamps go to start_ns and end_ns
// where these are not NULL. PP_BAD_ARGUMENT (also: it has not ended), PP_OUT_OF_RANGE, PP_TIMEOUT, PP_GONE.
PP_API pp_status pp_region_energy(const pp_region *region, uint32_t channel, int64_t settle_ns, pp_joules *energy,
                                  int64_t *start_ns, int64_t *end_ns);
// Ended or not. NULL: nothing happens.
PP_API void pp_region_free(pp_region *region);

// ---- Edges

// The counter moved at some moment within (t_ns - gap_ns, t_ns], and the energy up to then, since the probe opened, lay within
// [joules, joules + quantum_joules). Its layout belongs to PP_ABI_VERSION.
typedef struct pp_edge {
  int64_t t_ns;
  double joules;
  uint32_t gap_ns;
  uint32_t read_ns;  // how long the reading took
  uint32_t flags;
  uint32_t segment;  // how often the counter was reset before; only differences within a segment are energies
} pp_edge;

// Copies the edges of a channel whose index is *next or higher, oldest first, `capacity` at most, and sets *count to their number
// and *next to the index after the last of them, for the next call. *lost (may be NULL): how many from the old *next on were
// overwritten before they could be copied. Begin with *next = 0. Copies are whole and in order, whatever the sampler does meanwhile.
// PP_BAD_ARGUMENT, also for PP_TOTAL, which has no edges.
PP_API pp_status pp_read_edges(const pp_probe *probe, uint32_t channel, uint64_t *next, pp_edge *edges, size_t capacity,
                               size_t *count, uint64_t *lost);

// ---- From inside a Python process

// All functions of above, as the capsule PP_CAPSULE of the Python package has them. With these pp_open(NULL) gives the probe that
// powerprobe.measure() uses, and starts no sampler of its own; with those of libpowerprobe.so it would start a second one. Release
// Python's lock (Py_BEGIN_ALLOW_THREADS) around what waits: pp_open, pp_ask, pp_begin, pp_energy, pp_energies, pp_region_energy.
#define PP_CAPSULE "powerprobe._core._C_API"

typedef struct pp_api {
  uint32_t struct_size;
  uint32_t abi_version;
  const char *(*version)(void);
  const pp_error *(*last_error)(void);
  pp_status (*open)(const pp_options *, pp_probe **);
  void (*close)(pp_probe *);
  uint32_t (*channel_count)(const pp_probe *);
  pp_status (*channel)(const pp_probe *, uint32_t, pp_channel_info *);
  pp_status (*find_channel)(const pp_probe *, const char *, uint32_t *);
  int64_t (*now)(void);
  int64_t (*mark)(pp_probe *);
  pp_status (*ask)(pp_probe *);
  pp_status (*release)(pp_probe *);
  pp_status (*energy)(pp_probe *, uint32_t, int64_t, int64_t, int64_t, pp_joules *);
  pp_status (*energies)(pp_probe *, uint32_t, size_t, const int64_t *, const int64_t *, int64_t, double *, double *, double *,
                        uint32_t *);
  pp_status (*begin)(pp_probe *, pp_region **);
  pp_status (*end)(pp_region *);
  pp_status (*region_energy)(const pp_region *, uint32_t, int64_t, pp_joules *, int64_t *, int64_t *);
  void (*region_free)(pp_region *);
  pp_status (*read_edges)(const pp_probe *, uint32_t, uint64_t *, pp_edge *, size_t, size_t *, uint64_t *);
} pp_api;

#ifdef Py_PYTHON_H
// Imports powerprobe and returns its functions; NULL with a Python exception set where it is not there or has another ABI. The
// table lives as long as the process. Needs Python's lock.
static inline const pp_api *pp_import_api(void) {
  const pp_api *api = (const pp_api *)PyCapsule_Import(PP_CAPSULE, 0);
  if (api != NULL && (api->abi_version != PP_ABI_VERSION || api->struct_size < sizeof(pp_api))) {
    PyErr_Format(PyExc_ImportError, "this extension was built for a newer or another powerprobe than %s, which is installed",
                 api->version());
    return NULL;
  }
  return api;
}
#endif

#ifdef __cplusplus
}
#endif

// NOLINTEND(modernize-*, readability-identifier-naming)

#endif
