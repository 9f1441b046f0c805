// SPDX-License-Identifier: MIT
// The least that a test in C needs: a condition that must hold, and who says so.
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#include "powerprobe.h"

#define CHECK(condition)                                                                             \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      fprintf(stderr, "%s:%d: %s\n  last error: %s\n", __FILE__, __LINE__, #condition, pp_last_error()->message); \
      exit(1);                                                                                       \
    }                                                                                                \
  } while (0)

#endif
