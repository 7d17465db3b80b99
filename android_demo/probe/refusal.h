// What ends the probe with a line {"error": …} and exit status 3.

#pragma once

#include <stdexcept>

struct Refusal : std::runtime_error {
    using std::runtime_error::runtime_error;
};
