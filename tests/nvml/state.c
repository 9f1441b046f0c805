// SPDX-License-Identifier: MIT
// What happens around every call: the script it runs by, counts, hangs, delays, faults; any thread.
#define _GNU_SOURCE
#include "state.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_nvml.h"

// Guards everything below, and of a script what script.h says. Never held while a call sleeps or hangs.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
// A hang may be over: released, or another time.
static pthread_cond_t changed;
static struct script* current;
static unsigned int clients;
static unsigned int generation;

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork(void) { pthread_mutex_unlock(&lock); }

static void make_condition(void) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&changed, &attributes);
  pthread_condattr_destroy(&attributes);
}

// The threads that hang do not exist in the child.
static void after_fork_in_child(void) {
  make_condition();
  pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin_library(void) {
  make_condition();
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

__attribute__((destructor)) static void end_library(void) {
  pthread_mutex_lock(&lock);  // of a thread that is done; one that hangs has given it up
  if (current != NULL && current->users == 1) {
    free_script(current);
    current = NULL;
  }
  pthread_mutex_unlock(&lock);
}

static int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct timespec timespec_of(int64_t ns) {
  return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static void sleep_us(int64_t us) {
  struct timespec left = timespec_of(us * 1000);
  while (us > 0 && nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

static int64_t script_ns(const struct script* script) {
  return script->frozen ? script->frozen_ns : monotonic_ns() - script->start_ns;
}

static void leave(struct script* script) {
  if (--script->users == 0) free_script(script);
}

static void replace(struct script* script) {
  script->users = 1;  // for being the current one
  if (current != NULL) {
    current->released_ns = INT64_MAX;
    leave(current);
  }
  current = script;
  pthread_cond_broadcast(&changed);
}

static struct script* read_file(const char* path) {
  FILE* file = fopen(path, "r");
  if (file == NULL) {
    perror(path);
    abort();
  }
  char* text = NULL;
  size_t size = 0;
  if (getdelim(&text, &size, '\0', file) < 0) text = grown(NULL, 0, 1);
  fclose(file);
  struct script* script = read_script(text);
  free(text);
  return script;
}

static void require_script(void) {
  if (current != NULL) return;
  const char* path = getenv("FAKE_NVML_SCRIPT");
  replace(path != NULL ? read_file(path) : read_script("init_error 9"));  // nobody said anything: no driver
}

EXPORT void fake_nvml_script(const char* text) {
  struct script* script = read_script(text);
  pthread_mutex_lock(&lock);
  replace(script);
  pthread_mutex_unlock(&lock);
}

EXPORT unsigned long long fake_nvml_calls(const char* function, int board) {
  unsigned long long calls = 0;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; current != NULL && i < current->count_of_counts; ++i) {
    const struct call_count* count = &current->counts[i];
    if (function != NULL && strcmp(function, count->function) != 0) continue;
    if (board < 0) calls += count->all;
    if (board >= 0 && (size_t)board < current->board_count) calls += count->by_board[board];
  }
  pthread_mutex_unlock(&lock);
  return calls;
}

EXPORT void fake_nvml_release(void) {
  pthread_mutex_lock(&lock);
  if (current != NULL) current->released_ns = script_ns(current);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

EXPORT void fake_nvml_freeze(long long t_ns) {
  pthread_mutex_lock(&lock);
  require_script();
  current->frozen = true;
  current->frozen_ns = t_ns;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

EXPORT long long fake_nvml_start_ns(void) {
  pthread_mutex_lock(&lock);
  require_script();
  const long long start_ns = current->start_ns;
  pthread_mutex_unlock(&lock);
  return start_ns;
}

int64_t wall_us(const struct script* script, int64_t t_ns) {
  return (script->start_ns + t_ns + script->wall_minus_monotonic_ns) / 1000;
}

EXPORT long long fake_nvml_wall_us(long long t_ns) {
  pthread_mutex_lock(&lock);
  require_script();
  const long long us = wall_us(current, t_ns);
  pthread_mutex_unlock(&lock);
  return us;
}

static bool covers(const struct span* span, const char* function, int64_t t_ns) {
  return span->from_ns <= t_ns && t_ns < span->to_ns && (span->function[0] == '\0' || strcmp(span->function, function) == 0);
}

static struct call_count* count_of(struct script* script, const char* function) {
  for (size_t i = 0; i < script->count_of_counts; ++i) {
    if (strcmp(script->counts[i].function, function) == 0) return &script->counts[i];
  }
  script->counts = grown(script->counts, script->count_of_counts, sizeof *script->counts);
  struct call_count* count = &script->counts[script->count_of_counts++];
  count->function = function;
  count->by_board = calloc(script->board_count + 1, sizeof *count->by_board);
  if (count->by_board == NULL) abort();
  return count;
}

// With the lock held.
static void begin(struct call* call, const char* function) {
  require_script();
  ++current->users;
  *call = (struct call){.script = current, .function = function, .mig = -1};
  call->number = ++count_of(current, function)->all;
}

int begin_library_call(struct call* call, const char* function) {
  pthread_mutex_lock(&lock);
  begin(call, function);
  call->now_ns = script_ns(call->script);
  const int code = clients == 0 ? kUninitialized : kSuccess;
  pthread_mutex_unlock(&lock);
  return code;
}

// A handle is the library's generation, the board's number + 1 and the instance's number + 1, a byte each for these.
device_handle handle_of(size_t board, int mig) {
  pthread_mutex_lock(&lock);
  const uintptr_t handle = (uintptr_t)generation << 16 | (board + 1) << 8 | (uintptr_t)(mig + 1);
  pthread_mutex_unlock(&lock);
  return (device_handle)handle;
}

// With the lock held, which is given up while waiting.
static void wait_out_hangs(struct call* call) {
  const int64_t begun_ns = script_ns(call->script);
  for (size_t i = 0; i < call->board->hangs.count; ++i) {
    const struct span* hang = &call->board->hangs.items[i];
    if (!covers(hang, call->function, begun_ns)) continue;
    while (hang->from_ns > call->script->released_ns && script_ns(call->script) < hang->to_ns) {
      if (call->script->frozen || hang->to_ns == INT64_MAX) {
        pthread_cond_wait(&changed, &lock);
      } else {
        const struct timespec until = timespec_of(call->script->start_ns + hang->to_ns);
        pthread_cond_timedwait(&changed, &lock, &until);
      }
    }
  }
}

int enter_board(struct call* call, size_t index) {
  call->board = &call->script->boards[index];
  call->index = (unsigned int)index;
  pthread_mutex_lock(&lock);
  ++count_of(call->script, call->function)->by_board[index];
  wait_out_hangs(call);
  pthread_mutex_unlock(&lock);
  sleep_us(call->board->delay_before_us);
  pthread_mutex_lock(&lock);
  call->now_ns = script_ns(call->script);
  pthread_mutex_unlock(&lock);
  for (size_t i = 0; i < call->board->faults.count; ++i) {
    const struct span* fault = &call->board->faults.items[i];
    if (covers(fault, call->function, call->now_ns)) return fault->code;
  }
  return kSuccess;
}

int begin_any_call(struct call* call, const char* function, device_handle device) {
  const int code = begin_library_call(call, function);
  if (code != kSuccess) return code;
  const uintptr_t handle = (uintptr_t)device;
  const size_t board = (handle >> 8 & 0xff) - 1;
  const int mig = (int)(handle & 0xff) - 1;
  if (handle == 0 || board >= call->script->board_count || handle != (uintptr_t)handle_of(board, mig)) return kInvalidArgument;
  if (mig >= 0 && (size_t)mig >= call->script->boards[board].mig_count) return kInvalidArgument;
  call->mig = mig;
  return enter_board(call, board);
}

int begin_call(struct call* call, const char* function, device_handle device) {
  const int code = begin_any_call(call, function, device);
  return code == kSuccess && call->mig >= 0 ? kNotSupported : code;
}

int end_call(struct call* call, int code) {
  if (call->board != NULL) sleep_us(call->board->delay_after_us);
  pthread_mutex_lock(&lock);
  leave(call->script);
  pthread_mutex_unlock(&lock);
  return code;
}

int begin_init(struct call* call, const char* function) {
  (void)begin_library_call(call, function);
  sleep_us(call->script->init_delay_ms * 1000);
  if (call->script->init_error != kSuccess) return call->script->init_error;
  pthread_mutex_lock(&lock);
  if (clients++ == 0) ++generation;
  pthread_mutex_unlock(&lock);
  return kSuccess;
}

int begin_shutdown(struct call* call, const char* function) {
  int code = begin_library_call(call, function);
  pthread_mutex_lock(&lock);
  if (clients == 0) {
    code = kUninitialized;
  } else {
    --clients;
  }
  pthread_mutex_unlock(&lock);
  return code;
}
