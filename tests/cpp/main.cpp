// SPDX-License-Identifier: MIT
// The test runner, compiled once for all programs.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
