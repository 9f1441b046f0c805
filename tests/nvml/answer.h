// SPDX-License-Identifier: MIT
// Answers into the caller's memory, checked as NVML does; any thread.
#ifndef FAKE_NVML_ANSWER_H
#define FAKE_NVML_ANSWER_H

#include <string.h>

#include "nvml.h"

static inline int answer_text(char* to, unsigned int length, const char* text) {
  if (to == NULL) return kInvalidArgument;
  if (strlen(text) >= length) return kInsufficientSize;
  strcpy(to, text);
  return kSuccess;
}

static inline int answer_number(unsigned int* to, unsigned int number) {
  if (to == NULL) return kInvalidArgument;
  *to = number;
  return kSuccess;
}

#endif
