// Which variants of the probe this processor can run, least first. The kernel says what it has (HWCAP); this code itself
// is compiled for any ARM64, so that a variant can refuse a processor before it meets an unknown instruction.

#pragma once

#include <string>
#include <vector>

#ifdef __aarch64__
#include <sys/auxv.h>

inline std::vector<std::string> runnable_variants() {
    // Bits of Linux' arch/arm64/include/uapi/asm/hwcap.h; C libraries differ in which ones they name.
    constexpr unsigned long ATOMICS = 1UL << 8, FPHP = 1UL << 9, ASIMDHP = 1UL << 10, ASIMDRDM = 1UL << 12;
    constexpr unsigned long ASIMDDP = 1UL << 20, CRC32 = 1UL << 7, I8MM = 1UL << 13;
    constexpr unsigned long DOTPROD = ATOMICS | FPHP | ASIMDHP | ASIMDRDM | ASIMDDP | CRC32;  // generic+v8_2a+dotprod+fullfp16
    std::vector<std::string> found{"v8.0"};
    if ((getauxval(AT_HWCAP) & DOTPROD) == DOTPROD) {
        found.push_back("dotprod");
        if (getauxval(AT_HWCAP2) & I8MM) found.push_back("i8mm");
    }
    return found;
}
#else
inline std::vector<std::string> runnable_variants() { return {"host"}; }
#endif
