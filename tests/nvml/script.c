// SPDX-License-Identifier: MIT
// Reads a script (see script.h); the thread that gives it.
#define _GNU_SOURCE
#include "script.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct line {
  int number;
  char* key;
  char** words;  // what has been read becomes NULL
  size_t count;
};

static _Noreturn void refuse(const struct line* line, const char* why) {
  fprintf(stderr, "fake_nvml: script line %d (%s): %s\n", line->number, line->key, why);
  abort();
}

void* grown(void* items, size_t count, size_t size) {
  void* more = realloc(items, (count + 1) * size);
  if (more == NULL) abort();
  memset((char*)more + count * size, 0, size);
  return more;
}

// A new, zeroed item at the end of an array.
#define APPEND(items, count) ((items) = grown((items), (count), sizeof *(items)), &(items)[(count)++])

static int64_t number(const struct line* line, const char* text, int64_t least, int64_t most) {
  char* end = NULL;
  const long long value = strtoll(text, &end, 0);
  if (end == text || *end != '\0' || value < least || value > most) refuse(line, "no number, or one out of range");
  return value;
}

static const char* next_word(struct line* line) {
  for (size_t i = 0; i < line->count; ++i) {
    const char* word = line->words[i];
    line->words[i] = NULL;
    if (word != NULL) return word;
  }
  refuse(line, "something is missing");
}

static int64_t next_number(struct line* line, int64_t most) { return number(line, next_word(line), 0, most); }

static unsigned int next_unsigned(struct line* line) { return (unsigned int)next_number(line, UINT_MAX); }

static void copy_text(const struct line* line, char* to, size_t size, const char* from) {
  if (strlen(from) >= size) refuse(line, "too long");
  strcpy(to, from);
}

// The rest of the line, its words joined by one space.
static void next_text(struct line* line, char* to) {
  char joined[kTextSize] = "";
  copy_text(line, joined, sizeof joined, next_word(line));
  for (size_t i = 0; i < line->count; ++i) {
    if (line->words[i] == NULL) continue;
    if (strlen(joined) + 1 + strlen(line->words[i]) >= sizeof joined) refuse(line, "too long");
    strcat(strcat(joined, " "), line->words[i]);
    line->words[i] = NULL;
  }
  strcpy(to, joined);
}

// The value of name=value, or NULL.
static const char* option(struct line* line, const char* name) {
  const size_t length = strlen(name);
  for (size_t i = 0; i < line->count; ++i) {
    const char* word = line->words[i];
    if (word == NULL || strncmp(word, name, length) != 0 || word[length] != '=') continue;
    line->words[i] = NULL;
    return word + length + 1;
  }
  return NULL;
}

static int64_t number_option(struct line* line, const char* name, int64_t otherwise) {
  const char* value = option(line, name);
  return value == NULL ? otherwise : number(line, value, 0, INT64_MAX / 1000000);
}

// Which of these words, which end in NULL.
static int one_of(const struct line* line, const char* word, const char* const* words) {
  for (int i = 0; words[i] != NULL; ++i) {
    if (strcmp(word, words[i]) == 0) return i;
  }
  refuse(line, "a word that is not known here");
}

static const char* const kStamps[] = {"read", "update", "zero", "wrong", NULL};  // in the order of enum stamps
static const char* const kUsages[] = {"off", "instant", "average", NULL};        // in the order of enum power_usage
static const char* const kKinds[] = {"waveform", "sensor", NULL};
static const char* const kMissing[] = {"entry", "call", NULL};
static const char* const kProcesses[] = {"compute", "graphics", NULL};

static struct updates read_updates(struct line* line) {
  struct updates updates = {0};
  if (line->count == 1 && strcmp(line->words[0], "off") == 0) {
    line->words[0] = NULL;
    return updates;
  }
  const int64_t period_us = number_option(line, "period_us", 0);
  updates.present = true;
  updates.period_ns = period_us * 1000;
  updates.phase_ns = number_option(line, "phase_us", 0) * 1000;
  updates.jitter_ns = number_option(line, "jitter_us", 0) * 1000;
  updates.window_ns = number_option(line, "window_us", period_us) * 1000;
  updates.seed = (uint64_t)number_option(line, "seed", 0);
  if (updates.period_ns == 0 || updates.window_ns == 0) refuse(line, "needs a period_us and a window_us above 0");
  if (2 * updates.jitter_ns >= updates.period_ns) refuse(line, "jitter_us must be less than half of period_us");
  return updates;
}

static int64_t span_end(struct line* line) {
  const char* value = option(line, "to_ms");
  if (value == NULL || strcmp(value, "forever") == 0) return INT64_MAX;
  return number(line, value, 0, INT64_MAX / 1000000) * 1000000;
}

static struct span* read_span(struct line* line, struct spans* spans) {
  struct span* span = APPEND(spans->items, spans->count);
  span->from_ns = number_option(line, "from_ms", 0) * 1000000;
  span->to_ns = span_end(line);
  const char* function = option(line, "function");
  if (function != NULL) copy_text(line, span->function, sizeof span->function, function);
  return span;
}

static void read_wave(struct line* line, struct board* board) {
  struct waveform* wave = &board->waves[next_number(line, kScopes - 1)];
  free(wave->pieces);
  *wave = (struct waveform){0};
  if (line->count == 2 && strcmp(line->words[1], "off") == 0) {
    line->words[1] = NULL;
    return;
  }
  for (size_t i = 1; i < line->count; ++i) {
    char* power = strchr(line->words[i], ':');
    if (power == NULL) refuse(line, "pieces are US:MW");
    *power++ = '\0';
    struct piece* piece = APPEND(wave->pieces, wave->count);
    piece->duration_ns = number(line, line->words[i], 1, INT64_MAX / 1000000) * 1000;
    piece->power_mw = number(line, power, 0, INT32_MAX);
    wave->period_ns += piece->duration_ns;
    wave->period_pj += (picojoules)piece->duration_ns * piece->power_mw;
    line->words[i] = NULL;
  }
  if (wave->count == 0) refuse(line, "needs at least one US:MW");
}

static void read_fields(struct line* line, struct board* board) {
  board->field_count = 0;
  for (size_t i = 0; i < line->count; ++i) {
    char* scope = strchr(line->words[i], '@');
    if (scope == NULL) refuse(line, "fields are ID@SCOPE");
    *scope++ = '\0';
    struct field* field = APPEND(board->fields, board->field_count);
    field->id = (unsigned int)number(line, line->words[i], 0, INT_MAX);
    field->scope = (unsigned int)number(line, scope, 0, kScopes - 1);
    line->words[i] = NULL;
  }
}

static void read_pci(struct line* line, struct board* board) {
  char rest = '\0';
  if (sscanf(next_word(line), "%x:%x:%x.0%c", &board->pci_domain, &board->pci_bus, &board->pci_device, &rest) != 3) {
    refuse(line, "must look like 00000000:3B:00.0");
  }
}

static void read_reset(struct line* line, struct board* board) {
  int64_t* reset_ns = APPEND(board->resets_ns, board->reset_count);
  *reset_ns = next_number(line, INT64_MAX / 1000000) * 1000000;
  if (board->reset_count > 1 && reset_ns[-1] >= *reset_ns) refuse(line, "resets must come in the order of their times");
}

static bool read_identity_line(struct line* line, struct board* board) {
  if (strcmp(line->key, "name") == 0) {
    next_text(line, board->name);
  } else if (strcmp(line->key, "uuid") == 0) {
    next_text(line, board->uuid);
  } else if (strcmp(line->key, "pci") == 0) {
    read_pci(line, board);
  } else if (strcmp(line->key, "arch") == 0) {
    board->arch = next_unsigned(line);
  } else if (strcmp(line->key, "compute_capability") == 0) {
    board->major = next_unsigned(line);
    board->minor = next_unsigned(line);
  } else if (strcmp(line->key, "cores") == 0) {
    board->cores = next_unsigned(line);
  } else if (strcmp(line->key, "clock_mhz") == 0) {
    for (int i = 0; i < 2; ++i) board->clock_mhz[i] = next_unsigned(line);
  } else if (strcmp(line->key, "memory_clock_mhz") == 0) {
    for (int i = 0; i < 2; ++i) board->memory_clock_mhz[i] = next_unsigned(line);
  } else if (strcmp(line->key, "limits_mw") == 0) {
    board->min_mw = next_unsigned(line);
    board->max_mw = next_unsigned(line);
    board->default_mw = next_unsigned(line);
    board->limit_mw = next_unsigned(line);
    board->enforced_mw = next_unsigned(line);
  } else if (strcmp(line->key, "persistence") == 0) {
    board->persistence = next_unsigned(line);
  } else if (strcmp(line->key, "temperature_c") == 0) {
    board->temperature_c = next_unsigned(line);
  } else if (strcmp(line->key, "utilization") == 0) {
    for (int i = 0; i < 2; ++i) board->utilization[i] = next_unsigned(line);
  } else if (strcmp(line->key, "mig_max") == 0) {
    board->mig_max = next_unsigned(line);
  } else if (strcmp(line->key, "mig") == 0) {
    next_text(line, *APPEND(board->migs, board->mig_count));
  } else if (strcmp(line->key, "process") == 0) {
    struct process* process = APPEND(board->processes, board->process_count);
    process->pid = next_unsigned(line);
    process->bytes = (uint64_t)next_number(line, INT64_MAX);
    process->graphics = one_of(line, next_word(line), kProcesses) == 1;
  } else {
    return false;
  }
  return true;
}

static bool read_power_line(struct line* line, struct board* board) {
  if (strcmp(line->key, "wave") == 0) {
    read_wave(line, board);
  } else if (strcmp(line->key, "energy") == 0) {
    const char* kind = option(line, "kind");
    board->part_time = kind != NULL && one_of(line, kind, kKinds) == 1;
    board->first_mj = (uint64_t)number_option(line, "first_mj", 0);
    board->energy = read_updates(line);
  } else if (strcmp(line->key, "reset_ms") == 0) {
    read_reset(line, board);
  } else if (strcmp(line->key, "instant") == 0) {
    board->instant = read_updates(line);
  } else if (strcmp(line->key, "average") == 0) {
    board->average = read_updates(line);
  } else if (strcmp(line->key, "power_usage") == 0) {
    board->power_usage = (enum power_usage)one_of(line, next_word(line), kUsages);
  } else if (strcmp(line->key, "buffer") == 0) {
    const char* stamps = option(line, "stamps");
    board->buffer_stamps = stamps == NULL ? kStampUpdate : (enum stamps)one_of(line, stamps, kStamps);
    board->depth = (size_t)number_option(line, "depth", 120);
    board->buffer = read_updates(line);
  } else if (strcmp(line->key, "fields") == 0) {
    read_fields(line, board);
  } else if (strcmp(line->key, "field_missing") == 0) {
    board->missing_fails_call = one_of(line, next_word(line), kMissing) == 1;
    board->missing_code = (int)next_number(line, INT_MAX);
  } else if (strcmp(line->key, "stamps") == 0) {
    board->stamps = (enum stamps)one_of(line, next_word(line), kStamps);
  } else if (strcmp(line->key, "latency_us") == 0) {
    board->latency_us = next_number(line, INT64_MAX);
  } else {
    return false;
  }
  return true;
}

static bool read_time_line(struct line* line, struct board* board) {
  if (strcmp(line->key, "delay_us") == 0) {
    board->delay_before_us = next_number(line, INT_MAX);
    board->delay_after_us = next_number(line, INT_MAX);
  } else if (strcmp(line->key, "fault") == 0) {
    read_span(line, &board->faults)->code = (int)number_option(line, "code", 999);
  } else if (strcmp(line->key, "hang") == 0) {
    (void)read_span(line, &board->hangs);
  } else if (strcmp(line->key, "throttle") == 0) {
    struct span* span = read_span(line, &board->throttles);
    span->mask = (uint64_t)number_option(line, "mask", 0);
    span->policy = (unsigned int)number_option(line, "policy", 0);
  } else {
    return false;
  }
  return true;
}

static bool read_script_line(struct line* line, struct script* script) {
  if (strcmp(line->key, "start_ns") == 0) {
    script->start_ns = next_number(line, INT64_MAX);
  } else if (strcmp(line->key, "frozen_ns") == 0) {
    script->frozen = true;
    script->frozen_ns = next_number(line, INT64_MAX);
  } else if (strcmp(line->key, "driver") == 0) {
    next_text(line, script->driver);
  } else if (strcmp(line->key, "init_error") == 0) {
    script->init_error = (int)next_number(line, INT_MAX);
  } else if (strcmp(line->key, "init_delay_ms") == 0) {
    script->init_delay_ms = next_number(line, INT_MAX);
  } else {
    return false;
  }
  return true;
}

static void add_board(struct script* script) {
  const unsigned int index = (unsigned int)script->board_count;
  struct board* board = APPEND(script->boards, script->board_count);
  strcpy(board->name, "NVIDIA H100 80GB HBM3");
  snprintf(board->uuid, sizeof board->uuid, "GPU-00000000-0000-0000-0000-%012x", index);
  board->pci_bus = index + 1;
  board->arch = board->major = 9;
  board->cores = 16896;
  board->clock_mhz[0] = board->clock_mhz[1] = 1980;
  board->memory_clock_mhz[0] = board->memory_clock_mhz[1] = 2619;
  board->min_mw = 200000;
  board->max_mw = board->default_mw = board->limit_mw = board->enforced_mw = 700000;
  board->persistence = 1;
  board->temperature_c = 40;
  board->mig_max = 7;
  board->waves[0].count = 1;
  board->waves[0].pieces = grown(NULL, 0, sizeof(struct piece));
  board->waves[0].pieces[0] = (struct piece){.duration_ns = 1000000000, .power_mw = 100000};
  board->waves[0].period_ns = 1000000000;
  board->waves[0].period_pj = (picojoules)1000000000 * 100000;
  board->energy = (struct updates){.present = true, .period_ns = 20000000, .window_ns = 20000000};
  board->instant = (struct updates){.present = true, .period_ns = 100000000, .window_ns = 25000000};
  board->average = (struct updates){.present = true, .period_ns = 100000000, .window_ns = 1000000000};
  board->power_usage = kUsageAverage;
  static const unsigned int kFields[] = {83, 191, 185, 186};
  for (size_t i = 0; i < sizeof kFields / sizeof *kFields; ++i) {
    APPEND(board->fields, board->field_count)->id = kFields[i];
  }
  board->missing_code = 3;  // NOT_SUPPORTED
}

static void read_line(struct line* line, struct script* script) {
  if (strcmp(line->key, "board") == 0) {
    if (script->board_count == kBoards) refuse(line, "too many boards");
    add_board(script);
  } else if (script->board_count == 0) {
    if (!read_script_line(line, script)) refuse(line, "no such key before the first board");
  } else {
    struct board* board = &script->boards[script->board_count - 1];
    if (!read_identity_line(line, board) && !read_power_line(line, board) && !read_time_line(line, board)) {
      refuse(line, "no such key of a board");
    }
  }
  for (size_t i = 0; i < line->count; ++i) {
    if (line->words[i] != NULL) refuse(line, line->words[i]);
  }
}

static int64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct script* read_script(const char* text) {
  struct script* script = grown(NULL, 0, sizeof *script);
  script->start_ns = clock_ns(CLOCK_MONOTONIC);
  script->wall_minus_monotonic_ns = clock_ns(CLOCK_REALTIME) - script->start_ns;
  script->released_ns = INT64_MIN;
  strcpy(script->driver, "550.54.15");

  char* copy = strdup(text);
  if (copy == NULL) abort();
  int number_of_line = 0;
  for (char *rest = copy, *row; (row = strsep(&rest, "\n")) != NULL;) {
    ++number_of_line;
    row[strcspn(row, "#")] = '\0';
    struct line line = {.number = number_of_line};
    for (char *words = row, *word; (word = strsep(&words, " \t\r")) != NULL;) {
      if (*word == '\0') continue;
      if (line.key == NULL) {
        line.key = word;
      } else {
        *APPEND(line.words, line.count) = word;
      }
    }
    if (line.key != NULL) read_line(&line, script);
    free(line.words);
  }
  free(copy);
  return script;
}

void free_script(struct script* script) {
  for (size_t i = 0; i < script->board_count; ++i) {
    struct board* board = &script->boards[i];
    for (int scope = 0; scope < kScopes; ++scope) free(board->waves[scope].pieces);
    free(board->migs);
    free(board->resets_ns);
    free(board->fields);
    free(board->faults.items);
    free(board->hangs.items);
    free(board->throttles.items);
    free(board->processes);
  }
  free(script->boards);
  for (size_t i = 0; i < script->count_of_counts; ++i) free(script->counts[i].by_board);
  free(script->counts);
  free(script);
}
