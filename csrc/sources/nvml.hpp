// SPDX-License-Identifier: MIT
// Finds GPU boards over NVML and says what their channels are. On the caller's thread, which waits 20 s at most for the driver
// and 2 s for each board.
#pragma once

#include <vector>

#include "sources/found.hpp"
#include "sources/nvml_board.hpp"
#include "sources/nvml_look.hpp"

namespace powerprobe {

// One source per board; a refusal for each board that cannot be used, and none of the others'.
void find_nvml(const Roots& roots, const Wanted& wanted, Found& found);

// The channels of a board and how each is read, those wanted only; the instant power reading comes with the counter even if not
// wanted, since it guides it. Here for the tests.
std::vector<NvmlBoard::Part> nvml_parts(const NvmlBoardFacts& board, const Wanted& wanted);

}  // namespace powerprobe
